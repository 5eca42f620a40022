//! Webhooks for programs: the event as JSON, signed as the Standard Webhooks specification says.
//!
//! `webhook-id` is the same for every attempt, `webhook-timestamp` is the second of this one, and `webhook-signature` is
//! `v1,` and the HMAC-SHA256 of `id.timestamp.body`.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use reqwest::header::HeaderName;
use serde::Serialize;

use super::{
    Event, HookUrl, Message, SigningKey, Transport, Undelivered, clean::Place, post::Post, template,
};

/// Posts events.
pub(super) struct Webhook {
    post: Post,
    key: SigningKey,
}

impl Webhook {
    pub(super) fn open(
        url: HookUrl,
        key: SigningKey,
        ca_file: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, String> {
        Ok(Self { post: Post::open(url, ca_file, timeout)?, key })
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    timestamp: jiff::Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    event: &'a Event,
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    link: String,
}

#[async_trait]
impl Transport for Webhook {
    async fn deliver(&self, message: &Message<'_>) -> Result<(), Undelivered> {
        let body = body(message).map_err(|_| Undelivered::because("the event has no JSON form"))?;
        let (id, second) = (message.id.to_string(), message.now.as_second());
        let signature = self.key.sign(&id, second, &body);
        let headers = vec![
            (HeaderName::from_static("webhook-id"), id),
            (HeaderName::from_static("webhook-timestamp"), second.to_string()),
            (HeaderName::from_static("webhook-signature"), signature),
        ];
        self.post.json(body, headers).await
    }
}

fn body(message: &Message<'_>) -> serde_json::Result<Vec<u8>> {
    let event = Event { mail: None, ..message.event.clone() };
    let link = template::link(&event, message.settings.base_url.as_deref(), Place::Plain);
    let data = Data { event: &event, text: message.text(Place::Plain), link };
    serde_json::to_vec(&Body { kind: format!("mayfly.{}", event.kind), timestamp: event.at, data })
}
