//! What the Java client does for the tests: it writes and reads records as Knative's Kafka broker does, joins and commits as a
//! member of a group, and looks into the cluster.

use serde_json::{Value, json};

use super::Kafka;
use super::client::Client;

/// How an event is written to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Attributes in headers `ce_…`, the data as the value. Knative's own.
    Binary,
    /// The whole event as JSON in the value; the data must be JSON.
    Structured,
    /// The data as the value and no header: no event at all.
    Raw,
    /// Headers and no value.
    Null,
}

/// A record to write.
#[derive(Debug, Clone)]
pub struct Record {
    /// The event's id.
    pub id: String,
    /// The event's source.
    pub source: String,
    /// The event's type.
    pub event_type: String,
    /// The event's `partitionkey` and the record's key.
    pub key: Option<String>,
    /// Where to write it, instead of where the partitioner puts it.
    pub partition: Option<u32>,
    /// Further attributes.
    pub extensions: Vec<(String, String)>,
    /// The event's data.
    pub data: Vec<u8>,
    /// How it is written.
    pub form: Form,
}

impl Record {
    /// An event of source `/knative` and type `test` in binary form, whose data is a small JSON object.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            source: "/knative".to_owned(),
            event_type: "test".to_owned(),
            key: None,
            partition: None,
            extensions: Vec::new(),
            data: json!({"id": id}).to_string().into_bytes(),
            form: Form::Binary,
        }
    }

    /// With a partition key.
    #[must_use]
    pub fn keyed(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Of another type.
    #[must_use]
    pub fn typed(mut self, event_type: &str) -> Self {
        event_type.clone_into(&mut self.event_type);
        self
    }

    /// With an extension.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.extensions.push((name.to_owned(), value.to_owned()));
        self
    }

    /// To that partition.
    #[must_use]
    pub fn to_partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// With other data.
    #[must_use]
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = data.into();
        self
    }

    /// In another form.
    #[must_use]
    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    fn to_json(&self) -> Value {
        let extensions: serde_json::Map<String, Value> =
            self.extensions.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let form = match self.form {
            Form::Binary => "binary",
            Form::Structured => "structured",
            Form::Raw => "raw",
            Form::Null => "null",
        };
        let data = std::str::from_utf8(&self.data).map_or_else(|_| json!(self.data), |text| json!(text));
        json!({
            "id": self.id, "source": self.source, "type": self.event_type, "key": self.key,
            "partition": self.partition, "extensions": extensions, "data": data, "form": form,
        })
    }
}

/// Where a record went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The event's id.
    pub id: String,
    /// The partition.
    pub partition: u32,
    /// The offset in it.
    pub offset: u64,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its records are there.
    Commit,
    /// Its records are to be skipped.
    Abort,
    /// Not at all, until the broker aborts it or the next transaction of its name begins.
    Open,
}

/// A record that a consumer read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumed {
    /// The partition.
    pub partition: u32,
    /// The offset in it.
    pub offset: u64,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's headers, in their order.
    pub headers: Vec<(String, String)>,
    /// The record's value.
    pub value: Option<Vec<u8>>,
}

impl Consumed {
    /// The value of the first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn from_json(value: &Value) -> Self {
        let headers = value["headers"].as_array().into_iter().flatten().map(|pair| {
            let text = bytes(&pair[1]).unwrap_or_default();
            (pair[0].as_str().unwrap_or_default().to_owned(), String::from_utf8_lossy(&text).into_owned())
        });
        Self {
            partition: number(&value["partition"]),
            offset: value["offset"].as_u64().unwrap(),
            key: bytes(&value["key"]),
            headers: headers.collect(),
            value: bytes(&value["value"]),
        }
    }
}

/// A partition of a group, as `kafka-consumer-groups --describe` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRow {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The committed offset.
    pub current: Option<u64>,
    /// What the commit carries beside it.
    pub metadata: String,
    /// The end of the partition.
    pub end: Option<u64>,
    /// How much of it is still to be done.
    pub lag: Option<u64>,
    /// The member that the partition is assigned to.
    pub member: Option<String>,
}

/// A member of a group that reads nothing. Dropping it lets it leave.
#[derive(Debug)]
pub struct Member<'kafka> {
    /// The partitions that it was given when it joined.
    pub partitions: Vec<u32>,
    client: &'kafka Client,
    id: String,
    ended: bool,
}

impl Member<'_> {
    /// Leaves the group, and waits until it has.
    pub async fn release(mut self) {
        self.ended = true;
        self.client.ask(&["release", &self.id], &[]).await.unwrap();
    }

    /// Goes silent without leaving, as a process does that is killed.
    pub async fn abandon(mut self) {
        self.ended = true;
        self.client.ask(&["abandon", &self.id], &[]).await.unwrap();
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let _unread = self.client.send(&["release", &self.id], &[]);
        }
    }
}

impl Kafka {
    async fn ask(&self, arguments: &[&str], input: &[Value]) -> Vec<Value> {
        let answer = self.client().ask(arguments, input).await;
        answer.unwrap_or_else(|error| panic!("Kafka's Java client, {arguments:?}: {error}"))
    }

    /// Creates a topic with that many partitions and waits until all of them can be written to.
    pub async fn create_topic(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) {
        let count = partitions.to_string();
        let settings: Vec<String> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut arguments = vec!["create", name, &count];
        arguments.extend(settings.iter().map(String::as_str));
        self.ask(&arguments, &[]).await;
    }

    /// Deletes a topic.
    pub async fn delete_topic(&self, name: &str) {
        self.ask(&["delete", name], &[]).await;
    }

    /// The names of all topics but Kafka's own, sorted.
    pub async fn topic_names(&self) -> Vec<String> {
        let names = self.ask(&["topics"], &[]).await;
        let mut names: Vec<String> = names.iter().map(text).collect();
        names.sort();
        names
    }

    /// Deletes all records of a partition before an offset, as retention does.
    pub async fn delete_records(&self, topic: &str, partition: u32, before: u64) {
        self.ask(&["trim", topic, &format!("{partition}={before}")], &[]).await;
    }

    /// What is committed and who is assigned, by topic and partition. Nothing for a group that does not exist.
    pub async fn describe_group(&self, group: &str) -> Vec<GroupRow> {
        let rows = self.ask(&["group", group], &[]).await;
        let row = |row: &Value| GroupRow {
            topic: text(&row["topic"]),
            partition: number(&row["partition"]),
            current: row["current"].as_u64(),
            metadata: text(&row["metadata"]),
            end: row["end"].as_u64(),
            lag: row["lag"].as_u64(),
            member: row["member"].as_str().map(str::to_owned),
        };
        rows.iter().map(row).collect()
    }

    /// Writes records as Knative's broker does; answers where each went, in the same order.
    pub async fn produce(&self, topic: &str, records: &[Record]) -> Vec<Written> {
        self.write(&["produce", topic], records).await
    }

    /// Writes records in a transaction of that name.
    pub async fn produce_in_transaction(
        &self,
        topic: &str,
        transaction: &str,
        end: End,
        records: &[Record],
    ) -> Vec<Written> {
        let end = match end {
            End::Commit => "commit",
            End::Abort => "abort",
            End::Open => "open",
        };
        self.write(&["produce", topic, transaction, end], records).await
    }

    async fn write(&self, arguments: &[&str], records: &[Record]) -> Vec<Written> {
        let input: Vec<Value> = records.iter().map(Record::to_json).collect();
        let written = self.ask(arguments, &input).await;
        let place = |line: &Value| Written {
            id: text(&line["id"]),
            partition: number(&line["partition"]),
            offset: line["offset"].as_u64().unwrap(),
        };
        written.iter().map(place).collect()
    }

    /// Joins a group, reads that many committed records, commits after each and leaves.
    pub async fn consume(&self, group: &str, topic: &str, count: usize) -> Vec<Consumed> {
        let records = self.ask(&["consume", group, topic, &count.to_string()], &[]).await;
        records.iter().map(Consumed::from_json).collect()
    }

    /// Joins a group and stays, with further settings of its consumer.
    pub async fn hold(&self, group: &str, topic: &str, settings: &[(&str, &str)]) -> Member<'_> {
        let settings: Vec<String> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut arguments = vec!["hold", group, topic];
        arguments.extend(settings.iter().map(String::as_str));
        let client = self.client();
        let (id, answer) = client.send(&arguments, &[]);
        // Made before the answer, so that it leaves the group also when the wait for it is cut short.
        let mut member = Member { partitions: Vec::new(), client, id: id.to_string(), ended: false };
        let partitions = Client::answer(&arguments, answer).await;
        let partitions = partitions.unwrap_or_else(|error| panic!("group {group} is not joined: {error}"));
        member.partitions = partitions.iter().map(number).collect();
        member
    }

    /// Commits offsets, as `(partition, offset)`, for a group without members.
    pub async fn commit(&self, group: &str, topic: &str, offsets: &[(u32, u64)]) {
        let offsets: Vec<String> = offsets.iter().map(|(at, offset)| format!("{at}={offset}")).collect();
        let mut arguments = vec!["commit", group, topic];
        arguments.extend(offsets.iter().map(String::as_str));
        self.ask(&arguments, &[]).await;
    }

    /// Where the default partitioner of the Java client puts a key.
    pub async fn partition_of(&self, key: &str, partitions: u32) -> u32 {
        number(&self.ask(&["partition", key, &partitions.to_string()], &[]).await[0])
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| number.try_into().ok()).unwrap()
}

/// Text, or an array of numbers where bytes are no text.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(numbers) => Some(numbers.iter().map(|byte| byte.as_u64().unwrap() as u8).collect()),
        _ => None,
    }
}
