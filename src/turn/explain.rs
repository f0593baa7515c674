//! A turn told in full: the bytes that would be sent, and why each insertion is there.

use memchr::memmem;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Prepared, Takes};
use crate::dialect::{Insertion, Source, Withheld};
use crate::error::ApiError;
use crate::memory::Recalled;
use crate::snapshot::Snapshot;

impl Prepared {
    /// What the first upstream that serves the model would be sent:
    ///
    /// ```json
    /// {"object": "preview", "upstream": "openai", "body": "…", "length": 812, "sha256": "…",
    ///  "insertions": [{"source": "persona", "start": 14, "end": 80, "text": "…", "why": {…}}],
    ///  "cuts": [{"start": 40, "end": 66, "text": "…"}], "memory": {…}, "tools": […]}
    /// ```
    ///
    /// Offsets are bytes: of `body` for insertions, of the client's body for cuts.
    ///
    /// # Errors
    ///
    /// 404 where no upstream serves the model.
    pub fn explain(&self, snapshot: &Snapshot) -> Result<Value, ApiError> {
        let upstream = snapshot.upstreams_for(self.model()).next();
        let upstream = upstream.ok_or_else(|| {
            let model = self.model().unwrap_or_default();
            ApiError::not_found(format!("No upstream serves the model `{model}`."))
                .param("model")
                .code("model_not_found")
        })?;
        let takes = Takes {
            strict_roles: upstream.strict_roles,
            tools: upstream.tools,
            usage: self.wants_usage,
        };
        let by_upstream = (!upstream.tools).then_some(Withheld::Upstream);
        let withheld = self.offer.withheld(by_upstream);
        let composed = self.compose(takes, None);
        let body = composed.to_bytes();
        let insertions = composed.insertions.iter();
        let insertions: Vec<_> = insertions.map(|it| self.insertion(it, &body)).collect();
        let cuts = composed.cuts.iter().map(|cut| {
            let text = String::from_utf8_lossy(&self.request.body()[cut.clone()]);
            json!({ "start": cut.start, "end": cut.end, "text": text })
        });
        let remembered = &self.remembered;
        Ok(json!({
            "object": "preview",
            "generation": snapshot.generation,
            "upstream": upstream.name,
            "model": self.model(),
            "purpose": self.purpose.header(),
            "personality": self.personality_id(),
            "identity": {
                "user": self.whose.user,
                "conversation": self.whose.conversation,
                "unfit": self.unfit,
            },
            "body": String::from_utf8_lossy(&body),
            "length": body.len(),
            "sha256": format!("{:x}", Sha256::digest(&body)),
            "insertions": insertions,
            "cuts": cuts.collect::<Vec<_>>(),
            "memory": {
                "outcome": remembered.outcome.map_or("off", |outcome| outcome.name()),
                "reason": remembered.why_off(),
                "cached": remembered.cached,
                "records": remembered.recalled.iter().map(|it| self.record(it)).collect::<Vec<_>>(),
            },
            "tools_withheld": withheld.map(Withheld::name),
            "tools": self.offer.tools().iter().filter(|_| withheld.is_none()).map(|offered| {
                json!({ "name": offered.tool.name(), "plugin": offered.tool.plugin(), "kind": offered.tool.kind() })
            }).collect::<Vec<_>>(),
        }))
    }

    fn insertion(&self, insertion: &Insertion, body: &[u8]) -> Value {
        let text = String::from_utf8_lossy(&body[insertion.at.clone()]);
        json!({
            "source": insertion.source,
            "start": insertion.at.start,
            "end": insertion.at.end,
            "text": text,
            "why": self.why(insertion.source, &body[insertion.at.clone()]),
        })
    }

    fn why(&self, source: Source, inserted: &[u8]) -> Value {
        match source {
            Source::Persona | Source::Book | Source::PostHistory | Source::Original => {
                let persona = self.persona.as_ref();
                json!({ "personality": self.personality_id(), "file": persona.map(|it| &it.origin) })
            }
            Source::Memory => {
                // Blocks cannot hold each other, so that each is found in its own insertion.
                let blocks = self.remembered.blocks();
                let blocks = blocks.filter(|block| {
                    !block.text.is_empty() && memmem::find(inserted, &block.text.bytes()).is_some()
                });
                let blocks: Vec<_> = blocks.collect();
                let records = blocks.iter().flat_map(|block| &block.records);
                json!({
                    "records": records.map(|record| record.id).collect::<Vec<_>>(),
                    "earlier": blocks.iter().any(|block| self.remembered.is_earlier(block)),
                })
            }
            Source::Tools => {
                let tools = self.offer.tools().iter().map(|offered| offered.tool.name());
                json!({ "tools": tools.collect::<Vec<_>>() })
            }
            Source::Usage => json!({ "needed_by": "a budget of the key" }),
            Source::ToolTurn => json!({ "put_back": "what the gateway's tools gave in this turn" }),
        }
    }

    /// A record that was found, with the parts of its score.
    fn record(&self, recalled: &Recalled) -> Value {
        let record = &recalled.record;
        let injected = self.remembered.injected().any(|it| it.id == record.id);
        json!({
            "id": record.id, "text": record.text, "role": record.role, "injected": injected,
            "score": recalled.score, "own_words": recalled.own,
            "neighbours": recalled.neighbours, "meaning": recalled.meaning,
        })
    }
}
