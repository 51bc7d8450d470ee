// The type of our dashboards: Grafana's own, with the options and fields of each panel by its type, as
// JSON writes it down. Compiled by ../grafana-schema.sh against each major version of Grafana.

import type * as grafana from "@grafana/schema";
import type * as bargauge from "panel/bargauge";
import type * as heatmap from "panel/heatmap";
import type * as stat from "panel/stat";
import type * as stateTimeline from "panel/statetimeline";
import type * as table from "panel/table";
import type * as timeseries from "panel/timeseries";

/** What JSON holds of a T: enumerations are their values. */
type Json<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer Value extends number}`
      ? Value
      : number
    : T extends readonly (infer Item)[]
      ? Json<Item>[]
      : T extends object
        ? { [Key in keyof T]: Json<T[Key]> }
        : T;

/** Every field may be left to its default: versions differ in which ones they have. */
type Some<T> = T extends readonly unknown[] ? T : T extends object ? { [Key in keyof T]?: Some<T[Key]> } : T;

/** A query to Prometheus. */
interface Target {
  datasource: grafana.DataSourceRef;
  editorMode: "code";
  expr: string;
  format: "time_series" | "table" | "heatmap";
  instant: boolean;
  legendFormat: string;
  range: boolean;
  refId: string;
}

/** A panel of one type: what all have, and the options and custom fields of this one. */
type Of<Type extends string, Options, Custom> = Omit<
  Json<grafana.Panel>,
  "type" | "options" | "fieldConfig" | "targets"
> & {
  type: Type;
  title: string;
  description: string;
  options: Some<Json<Options>>;
  fieldConfig: {
    defaults: Omit<Json<grafana.FieldConfig>, "custom"> & { custom?: Some<Json<Custom>> };
    overrides: Json<grafana.FieldConfigSource["overrides"]>;
  };
  targets: Target[];
};

type Panel =
  | Of<"bargauge", bargauge.Options, never>
  | Of<"heatmap", heatmap.Options, heatmap.FieldConfig>
  | Of<"stat", stat.Options, never>
  | Of<"state-timeline", stateTimeline.Options, stateTimeline.FieldConfig>
  | Of<"table", table.Options, table.FieldConfig>
  | Of<"timeseries", timeseries.Options, timeseries.FieldConfig>;

/** What the annotations of Prometheus have beside those of all data sources. */
interface Events {
  expr?: string;
  step?: string;
  tagKeys?: string;
  textFormat?: string;
  titleFormat?: string;
  useValueForTime?: boolean;
}

/** A query's own text, which the form of a variable shows. */
interface Defined {
  definition?: string;
}

export type Dashboard = Omit<Json<grafana.Dashboard>, "panels" | "annotations" | "templating"> & {
  annotations: { list: (Json<grafana.AnnotationQuery> & Events)[] };
  templating: { list: (Json<grafana.VariableModel> & Defined)[] };
  panels: (Panel | Json<grafana.RowPanel>)[];
};
