//! Room `embedded` (edge): the Kafka requests about topics.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
    CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, DescribeConfigsRequest,
    DescribeConfigsResponse, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::Broker;
use super::batch::TimestampType;
use super::store::{Store, TopicState};

/// The only broker there is.
pub(super) const NODE: BrokerId = BrokerId(1);

/// Topic settings that may be given at creation, and whether they are acted on.
const TIMESTAMP_TYPE: &str = "message.timestamp.type";
const TOLD_SETTINGS: &[&str] = &["retention.ms", "cleanup.policy"];
const SETTING_BYTES_MAX: usize = 256;

/// Resource types, sources and value types of DescribeConfigs.
const TOPIC_RESOURCE: i8 = 2;
const FROM_TOPIC: i8 = 1;
const FROM_DEFAULT: i8 = 5;

impl Broker {
    /// The broker and the topics asked for; all of them for a null list, or an empty one before
    /// version 1. Unknown ones are created where the configuration and the client want that.
    pub(super) fn metadata(&self, request: MetadataRequest, version: i16) -> MetadataResponse {
        let host = StrBytes::from_string(self.address.ip().to_string());
        let broker = MetadataResponseBroker::default()
            .with_node_id(NODE)
            .with_host(host)
            .with_port(i32::from(self.address.port()));
        let create = self.auto_create.filter(|_| request.allow_auto_topic_creation);
        let wanted = request.topics.filter(|topics| version > 0 || !topics.is_empty());
        let topics = self.store(|store| match wanted {
            None => store.topics().map(|(name, topic)| described(name, topic)).collect(),
            Some(wanted) => wanted
                .into_iter()
                .filter_map(|wanted| wanted.name)
                // Each once, or an answer could be far larger than its request.
                .collect::<BTreeSet<_>>()
                .into_iter()
                .map(|name| {
                    if let (None, Some(defaults)) = (store.topic(&name), create) {
                        // Where that fails, the topic is unknown below.
                        let _ = store.create(
                            &name,
                            defaults.partitions,
                            defaults.timestamps,
                            BTreeMap::new(),
                            false,
                        );
                    }
                    match store.topic(&name) {
                        Some(topic) => described(&name, topic),
                        None => MetadataResponseTopic::default()
                            .with_error_code(ResponseError::UnknownTopicOrPartition.code())
                            .with_name(Some(name)),
                    }
                })
                .collect(),
        });
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some("landfall-embedded".into()))
            .with_controller_id(NODE)
            .with_topics(topics)
    }

    /// Creates topics.
    pub(super) fn create_topics(&self, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let topics = request.topics.into_iter().map(|topic| {
            let result = self.store(|store| create(store, &topic, request.validate_only));
            let error = result.err().map_or(0, |error| error.code());
            CreatableTopicResult::default()
                .with_name(topic.name)
                .with_error_code(error)
                .with_num_partitions(topic.num_partitions.max(1))
                .with_replication_factor(1)
        });
        CreateTopicsResponse::default().with_topics(topics.collect())
    }

    /// Deletes topics with their records.
    pub(super) fn delete_topics(&self, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
        let responses = request.topic_names.into_iter().map(|name| {
            let result = self.store(|store| store.delete(&name));
            DeletableTopicResult::default()
                .with_error_code(result.err().map_or(0, |error| error.code()))
                .with_name(Some(name))
        });
        DeleteTopicsResponse::default().with_responses(responses.collect())
    }

    /// Adds partitions.
    pub(super) fn create_partitions(
        &self,
        request: CreatePartitionsRequest,
    ) -> CreatePartitionsResponse {
        let results = request.topics.into_iter().map(|topic| {
            let result =
                self.store(|store| store.grow(&topic.name, topic.count, request.validate_only));
            CreatePartitionsTopicResult::default()
                .with_error_code(result.err().map_or(0, |error| error.code()))
                .with_name(topic.name)
        });
        CreatePartitionsResponse::default().with_results(results.collect())
    }

    /// The settings of topics. Brokers have none to tell.
    pub(super) fn describe_configs(
        &self,
        request: DescribeConfigsRequest,
    ) -> DescribeConfigsResponse {
        let results = request.resources.into_iter().map(|resource| {
            let result = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            if resource.resource_type != TOPIC_RESOURCE {
                return result;
            }
            let settings = self.store(|store| {
                let bytes_max = store.partition_bytes_max();
                store.topic(&resource.resource_name).map(|topic| settings(topic, bytes_max))
            });
            let Some(mut settings) = settings else {
                let error = ResponseError::UnknownTopicOrPartition.code();
                return result.with_error_code(error);
            };
            if let Some(keys) = resource.configuration_keys {
                settings.retain(|setting| keys.contains(&setting.name));
            }
            result.with_configs(settings)
        });
        DescribeConfigsResponse::default().with_results(results.collect())
    }
}

fn described(name: &str, topic: &TopicState) -> MetadataResponseTopic {
    let partitions = (0..).zip(&topic.partitions).map(|(number, _)| {
        MetadataResponsePartition::default()
            .with_partition_index(number)
            .with_leader_id(NODE)
            .with_leader_epoch(0)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))))
        .with_partitions(partitions.collect())
}

fn create(
    store: &mut Store,
    topic: &CreatableTopic,
    only_check: bool,
) -> Result<(), ResponseError> {
    if !topic.assignments.is_empty() {
        return Err(ResponseError::InvalidReplicaAssignment);
    }
    if !matches!(topic.replication_factor, 1 | -1) {
        return Err(ResponseError::InvalidReplicationFactor);
    }
    let mut timestamps = TimestampType::default();
    let mut settings = BTreeMap::new();
    for config in &topic.configs {
        let value = config.value.as_deref().unwrap_or_default();
        let known = TOLD_SETTINGS.contains(&&*config.name) && value.len() <= SETTING_BYTES_MAX;
        match (&*config.name, value) {
            (TIMESTAMP_TYPE, "CreateTime") => timestamps = TimestampType::CreateTime,
            (TIMESTAMP_TYPE, "LogAppendTime") => timestamps = TimestampType::LogAppendTime,
            (name, value) if known => {
                settings.insert(name.to_owned(), value.to_owned());
            }
            _ => return Err(ResponseError::InvalidConfig),
        }
    }
    let partitions = if topic.num_partitions == -1 { 1 } else { topic.num_partitions };
    store.create(&topic.name, partitions, timestamps, settings, only_check)
}

fn settings(topic: &TopicState, bytes_max: usize) -> Vec<DescribeConfigsResourceResult> {
    let defaults = [
        ("retention.ms", "-1".to_owned()),
        ("retention.bytes", bytes_max.to_string()),
        ("cleanup.policy", "delete".to_owned()),
        (TIMESTAMP_TYPE, topic.timestamps.name().to_owned()),
    ];
    let defaults = defaults
        .into_iter()
        .filter(|(name, _)| !topic.settings.contains_key(*name))
        .map(|(name, value)| (name.to_owned(), value, FROM_DEFAULT));
    let own = topic.settings.iter().map(|(name, value)| (name.clone(), value.clone(), FROM_TOPIC));
    own.chain(defaults)
        .map(|(name, value, source)| {
            DescribeConfigsResourceResult::default()
                .with_name(StrBytes::from_string(name))
                .with_value(Some(StrBytes::from_string(value)))
                .with_config_source(source)
        })
        .collect()
}
