package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

type object = map[string]any

// schemas writes one JSON schema for each kind that these files declare, as KIND-GROUP-VERSION.json; a
// file is an OpenAPI v3 document of Kubernetes or a custom resource definition. The schemas are
// strict: a field that is not declared is refused, where the originals let it pass.
func schemas(out string, files []string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var document object
		if err := yaml.Unmarshal(text, &document); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		take := builtin
		if document["kind"] == "CustomResourceDefinition" {
			take = custom
		}
		if err := take(document, out); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// builtin takes one of Kubernetes' OpenAPI v3 documents, of one group and version.
func builtin(document object, out string) error {
	components, _ := document["components"].(object)
	declared, ok := components["schemas"].(object)
	if !ok {
		return fmt.Errorf("declares no schemas")
	}
	for name, schema := range declared {
		schema, _ := schema.(object)
		kinds, _ := schema["x-kubernetes-group-version-kind"].([]any)
		// Options such as DeleteOptions belong to every group and are no objects.
		if len(kinds) != 1 || strings.HasSuffix(name, "List") {
			continue
		}
		kind, _ := kinds[0].(object)
		named := object{}
		gather(declared, name, named)
		whole := object{
			"$ref":       reference + name,
			"components": object{"schemas": strict(named)},
		}
		if err := write(out, kind["kind"], kind["group"], kind["version"], whole); err != nil {
			return err
		}
	}
	return nil
}

const reference = "#/components/schemas/"

// gather adds a schema, and all those that it refers to.
func gather(declared object, name string, named object) {
	if _, known := named[name]; known {
		return
	}
	named[name] = declared[name]
	var walk func(any)
	walk = func(part any) {
		switch part := part.(type) {
		case object:
			if to, ok := part["$ref"].(string); ok {
				gather(declared, strings.TrimPrefix(to, reference), named)
			}
			for _, value := range part {
				walk(value)
			}
		case []any:
			for _, value := range part {
				walk(value)
			}
		}
	}
	walk(declared[name])
}

// custom takes a CustomResourceDefinition.
func custom(document object, out string) error {
	spec, _ := document["spec"].(object)
	names, _ := spec["names"].(object)
	versions, _ := spec["versions"].([]any)
	for _, version := range versions {
		version, _ := version.(object)
		schema, _ := version["schema"].(object)
		whole, ok := strict(schema["openAPIV3Schema"]).(object)
		if !ok {
			return fmt.Errorf("%v has no schema", version["name"])
		}
		if err := write(out, names["kind"], spec["group"], version["name"], whole); err != nil {
			return err
		}
	}
	return nil
}

// strict is the same schema, in which what declares its fields has no others.
func strict(schema any) any {
	switch schema := schema.(type) {
	case object:
		tightened := object{}
		for key, value := range schema {
			tightened[key] = strict(value)
		}
		_, declares := schema["properties"].(object)
		_, further := schema["additionalProperties"]
		keeps, _ := schema["x-kubernetes-preserve-unknown-fields"].(bool)
		if declares && !further && !keeps {
			tightened["additionalProperties"] = false
		}
		return tightened
	case []any:
		tightened := make([]any, len(schema))
		for index, value := range schema {
			tightened[index] = strict(value)
		}
		return tightened
	}
	return schema
}

func write(out string, kind, group, version any, schema object) error {
	schema["$schema"] = "http://json-schema.org/draft-07/schema#"
	text, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%v-%v-%v.json", kind, group, version)
	return os.WriteFile(filepath.Join(out, strings.ToLower(name)), text, 0o644)
}
