use std::fs;

use candle_core::{DType, Device};
use candle_nn::{VarBuilder, VarMap};
use candle_transformers::models::{bert, xlm_roberta};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const WORDS: [&str; 8] = [
    "[PAD]", "[CLS]", "[SEP]", "[UNK]", "dog", "cat", "tea", "car",
];

/// A tiny model with random weights.
fn model(kind: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "model_type": kind,
        "vocab_size": WORDS.len(),
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 12,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
    });
    let vocabulary: serde_json::Map<String, Value> = WORDS
        .iter()
        .enumerate()
        .map(|(number, word)| (word.to_string(), number.into()))
        .collect();
    let tokenizer = json!({
        "version": "1.0",
        "truncation": { "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0 },
        "padding": null,
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": { "type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1] },
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]" },
    });
    let weights = VarMap::new();
    let tensors = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
    if kind == "bert" {
        let config = serde_json::from_value(config.clone()).unwrap();
        bert::BertModel::load(tensors, &config).unwrap();
    } else {
        let config = serde_json::from_value(config.clone()).unwrap();
        xlm_roberta::XLMRobertaModel::new(&config, tensors).unwrap();
    }
    weights
        .save(folder.path().join("model.safetensors"))
        .unwrap();
    write(&folder, "config.json", config.to_string());
    write(&folder, "tokenizer.json", tokenizer.to_string());
    folder
}

fn write(folder: &TempDir, name: &str, contents: impl AsRef<[u8]>) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

fn settings(folder: &TempDir) -> EmbeddingFolder {
    EmbeddingFolder {
        model_dir: folder.path().into(),
        query_prefix: String::new(),
        passage_prefix: String::new(),
    }
}

fn open(folder: &TempDir) -> LocalEmbedder {
    LocalEmbedder::open(&settings(folder)).unwrap_or_else(|fault| panic!("{fault}"))
}

async fn embed(embedder: &LocalEmbedder, kind: Kind, texts: &[&str]) -> Vec<Vec<f32>> {
    let texts: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
    embedder
        .embed(kind, &texts, &Bill::default())
        .await
        .unwrap()
}

/// What is wrong with a model, and in which of its files.
fn fault(folder: &TempDir) -> String {
    let Err(fault) = LocalEmbedder::open(&settings(folder)) else {
        panic!("the model is taken");
    };
    fault.to_string()
}

#[tokio::test]
async fn a_text_has_the_same_vector_in_every_process_and_company() {
    for kind in ["bert", "xlm-roberta"] {
        let folder = model(kind);
        let (first, second) = (open(&folder), open(&folder));
        assert_eq!(first.space(), second.space());
        let vectors = embed(&first, Kind::Passage, &["dog cat", "tea", "what is this"]).await;
        assert_eq!(vectors.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 8]);
        assert!(vectors[0] != vectors[1] && vectors[1] != vectors[2]);
        assert_eq!(embed(&second, Kind::Query, &["tea"]).await, vectors[1..2]);
        assert_eq!(
            embed(&second, Kind::Query, &["dog cat"]).await,
            vectors[..1]
        );
    }
}

#[tokio::test]
async fn of_a_long_record_the_beginning_counts_and_of_a_long_query_the_end() {
    // Twelve positions, of which XLM-RoBERTa's padding takes one; [CLS] and [SEP] take two.
    for (kind, room) in [("bert", 10), ("xlm-roberta", 9)] {
        let folder = model(kind);
        let embedder = open(&folder);
        let (dogs, long) = (
            "dog ".repeat(room),
            "dog ".repeat(room) + &"car ".repeat(room),
        );
        let cars = "car ".repeat(room);
        let short = embed(&embedder, Kind::Passage, &[&dogs, &cars]).await;
        assert_eq!(embed(&embedder, Kind::Passage, &[&long]).await, short[..1]);
        assert_eq!(embed(&embedder, Kind::Query, &[&long]).await, short[1..]);
        write(
            &folder,
            "sentence_bert_config.json",
            r#"{"max_seq_length": 8}"#,
        );
        let shorter = embed(&open(&folder), Kind::Passage, &[&dogs]).await;
        assert_eq!(
            shorter,
            embed(&embedder, Kind::Passage, &[&"dog ".repeat(6)]).await
        );
    }
}

#[tokio::test]
async fn prefixes_and_pooling_are_as_the_model_wants_them() {
    let folder = model("bert");
    let plain = open(&folder);
    let prefixed = LocalEmbedder::open(&EmbeddingFolder {
        query_prefix: "cat ".into(),
        passage_prefix: "tea ".into(),
        ..settings(&folder)
    });
    let prefixed = prefixed.unwrap_or_else(|fault| panic!("{fault}"));
    assert_ne!(plain.space(), prefixed.space());
    let expected = embed(&plain, Kind::Passage, &["cat dog", "tea dog"]).await;
    assert_eq!(embed(&prefixed, Kind::Query, &["dog"]).await, expected[..1]);
    assert_eq!(
        embed(&prefixed, Kind::Passage, &["dog"]).await,
        expected[1..]
    );

    write(
        &folder,
        "1_Pooling/config.json",
        r#"{"pooling_mode_cls_token": true}"#,
    );
    let cls = open(&folder);
    assert_ne!(cls.space(), plain.space());
    assert_ne!(
        embed(&cls, Kind::Query, &["dog"]).await,
        embed(&plain, Kind::Query, &["dog"]).await
    );
    write(
        &folder,
        "1_Pooling/config.json",
        r#"{"pooling_mode_max_tokens": true}"#,
    );
    assert!(
        fault(&folder).contains("another pooling"),
        "{}",
        fault(&folder)
    );
}

#[test]
fn other_weights_are_another_space() {
    assert_ne!(open(&model("bert")).space(), open(&model("bert")).space());
}

#[test]
fn a_file_that_does_not_fit_is_named() {
    let says = |name: &str, contents: &[u8], what: &str| {
        let folder = model("bert");
        write(&folder, name, contents);
        let fault = fault(&folder);
        let named = folder.path().join(name).display().to_string();
        assert!(fault.starts_with(&named) && fault.contains(what), "{fault}");
    };
    says("config.json", b"{", "does not fit");
    says("tokenizer.json", b"{}", "is no tokenizer");
    says("model.safetensors", b"", "does not hold the weights");
    says(
        "model.safetensors",
        &[0xff; 64],
        "does not hold the weights",
    );

    let folder = model("bert");
    let config = fs::read_to_string(folder.path().join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    for (key, value, file, what) in [
        ("model_type", json!("llama"), "config.json", "\"llama\""),
        ("num_attention_heads", json!(0), "config.json", "0 heads"),
        ("num_attention_heads", json!(3), "config.json", "3 heads"),
        (
            "max_position_embeddings",
            json!(4),
            "config.json",
            "4 tokens",
        ),
        ("hidden_act", json!("swish"), "config.json", "swish"),
        ("vocab_size", json!(7), "tokenizer.json", "token number 7"),
        ("hidden_size", json!(16), "model.safetensors", "shape"),
        (
            "num_hidden_layers",
            json!(3),
            "model.safetensors",
            "layer.2",
        ),
    ] {
        let mut config = config.clone();
        config[key] = value;
        says_of(&folder, config, file, what);
    }
}

fn says_of(folder: &TempDir, config: Value, file: &str, what: &str) {
    write(folder, "config.json", config.to_string());
    let fault = fault(folder);
    let named = folder.path().join(file).display().to_string();
    assert!(fault.starts_with(&named) && fault.contains(what), "{fault}");
}

#[test]
fn a_damaged_number_among_the_weights_is_noticed() {
    let folder = model("bert");
    let path = folder.path().join("model.safetensors");
    let mut weights = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(*weights.first_chunk().unwrap()) as usize;
    for number in weights[8 + header..].chunks_exact_mut(4) {
        number.copy_from_slice(&f32::NAN.to_le_bytes());
    }
    fs::write(&path, weights).unwrap();
    assert!(fault(&folder).contains("no numbers"), "{}", fault(&folder));
}
