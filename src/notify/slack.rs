//! Slack's incoming webhooks, and those of others that take the same.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use serde_json::json;

use super::{HookUrl, Message, Transport, Undelivered, clean::Place, post::Post};

/// Characters a section may have.
const SECTION: usize = 3_000;

/// Posts text with blocks.
pub(super) struct Slack(Post);

impl Slack {
    pub(super) fn open(url: HookUrl, ca_file: Option<&Path>, timeout: Duration) -> Result<Self, String> {
        Post::open(url, ca_file, timeout).map(Self)
    }
}

#[async_trait]
impl Transport for Slack {
    async fn deliver(&self, message: &Message<'_>) -> Result<(), Undelivered> {
        self.0.json(body(message).to_string().into_bytes(), Vec::new()).await
    }
}

fn body(message: &Message<'_>) -> serde_json::Value {
    let text: String = message.text(Place::Slack).chars().take(SECTION).collect();
    let title = text.lines().next().unwrap_or_default();
    // `verbatim`: nothing is turned into links and mentions by itself.
    let section = json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}});
    let about = json!({"type": "context", "elements": [
        {"type": "mrkdwn", "text": format!("{} · {}", message.event.kind, message.id), "verbatim": true}
    ]});
    json!({"text": title, "blocks": [section, about], "unfurl_links": false, "unfurl_media": false})
}
