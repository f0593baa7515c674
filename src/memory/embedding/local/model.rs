//! A BERT or XLM-RoBERTa encoder with its tokenizer, as sentence-transformers lays them out.

use std::fs;
use std::path::Path;

use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{bert, xlm_roberta};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokenizers::{PostProcessor, Tokenizer, TruncationDirection};
use xxhash_rust::xxh3::xxh3_128;

use crate::config::model::MODEL_FILES;
use crate::error::Fault;
use crate::memory::embedding::EmbedError;

/// sentence-transformers' own files, which need not be there.
const POOLING: &str = "1_Pooling/config.json";
const SENTENCE: &str = "sentence_bert_config.json";

const FORMAT: &str =
    "give the folder of a BERT or XLM-RoBERTa sentence model in Hugging Face's format";

pub struct Model {
    network: Network,
    pooling: Pooling,
    tokenizer: Tokenizer,
    /// Tokens of a text at most, beside those that the tokenizer adds.
    room: usize,
    /// Of the files that decide what a text's vector is.
    pub digest: String,
}

enum Network {
    Bert(bert::BertModel),
    XlmRoberta(xlm_roberta::XLMRobertaModel),
}

/// How the tokens' vectors become one.
#[derive(Clone, Copy)]
enum Pooling {
    Mean,
    /// That of the first token.
    Cls,
}

/// Which side of a text that is too long is kept.
#[derive(Clone, Copy)]
pub enum Side {
    Beginning,
    End,
}

/// What of `config.json` is looked at here, before the network's own type reads it.
#[derive(Deserialize)]
struct Shape {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    #[serde(default)]
    pad_token_id: usize,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolingFile {
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
}

#[derive(Deserialize)]
struct SentenceFile {
    max_seq_length: Option<usize>,
}

impl Model {
    /// Reads a folder whole; nothing of it is read later.
    ///
    /// # Errors
    ///
    /// A fault that names the file and what of it does not fit.
    pub fn load(dir: &Path) -> Result<Self, Fault> {
        let [config, tokenizer, weights] = MODEL_FILES.map(|name| dir.join(name));
        let (config_bytes, tokenizer_bytes) = (read(&config)?, read(&tokenizer)?);
        let shape: Shape = parse(&config, &config_bytes)?;
        shape.check(&config)?;
        let longest = shape.longest(&config, dir)?;
        let tokens = read_tokenizer(&tokenizer, &tokenizer_bytes, &shape)?;
        let room = longest.saturating_sub(added_tokens(&tokens));
        if room == 0 {
            let what = format!("adds as many tokens to each text as there may be, {longest}");
            return Err(Fault::new(tokenizer, what, FORMAT));
        }
        let pooling = read_pooling(&dir.join(POOLING))?;
        let weight_bytes = read(&weights)?;
        let digests = [&config_bytes, &tokenizer_bytes, &weight_bytes].map(|bytes| xxh3_128(bytes));
        let model = Self {
            network: shape.network(&config, &config_bytes, &weights, weight_bytes)?,
            pooling,
            tokenizer: tokens,
            room,
            digest: format!("{digests:x?} {} {room}", pooling as u8),
        };
        match model.embed("memory", Side::Beginning) {
            Ok(vector) if vector.iter().all(|number| number.is_finite()) => Ok(model),
            Ok(_) => {
                let what = "gives vectors that are no numbers";
                Err(Fault::new(
                    weights,
                    what,
                    "fetch the file again; it is damaged",
                ))
            }
            Err(error) => Err(Fault::new(
                dir,
                format!("cannot embed a word: {error}"),
                FORMAT,
            )),
        }
    }

    /// The vector of one text. Its length is not made one, since only its direction counts.
    ///
    /// Texts go one by one, so that a vector does not depend on the text's company; eight of the
    /// same length at once take 0.6 of the time, which records in the background can do without.
    pub fn embed(&self, text: &str, kept: Side) -> Result<Vec<f32>, EmbedError> {
        let refused = |error: tokenizers::Error| EmbedError::Refused(error.to_string());
        let mut encoding = self.tokenizer.encode_fast(text, false).map_err(refused)?;
        let cut_off = match kept {
            Side::Beginning => TruncationDirection::Right,
            Side::End => TruncationDirection::Left,
        };
        encoding.truncate(self.room, 0, cut_off);
        let encoding = self
            .tokenizer
            .post_process(encoding, None, true)
            .map_err(refused)?;
        if encoding.get_ids().is_empty() {
            return Err(EmbedError::Refused("the text has no token".into()));
        }
        self.forward(encoding.get_ids())
            .map_err(|error| EmbedError::Refused(error.to_string()))
    }

    fn forward(&self, ids: &[u32]) -> candle_core::Result<Vec<f32>> {
        let ids = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
        let types = ids.zeros_like()?;
        let tokens = match &self.network {
            Network::Bert(network) => network.forward(&ids, &types, None)?,
            Network::XlmRoberta(network) => {
                network.forward(&ids, &ids.ones_like()?, &types, None, None, None)?
            }
        };
        let pooled = match self.pooling {
            Pooling::Mean => tokens.mean(1)?,
            Pooling::Cls => tokens.i((.., 0))?,
        };
        pooled.squeeze(0)?.to_vec1()
    }
}

impl Shape {
    fn check(&self, config: &Path) -> Result<(), Fault> {
        let wrong = |what: String| Err(Fault::new(config, what, FORMAT));
        if !matches!(self.model_type.as_str(), "bert" | "xlm-roberta") {
            return wrong(format!(
                "has the model_type {:?}, not \"bert\" or \"xlm-roberta\"",
                self.model_type
            ));
        }
        let heads = self.num_attention_heads;
        if heads == 0 || self.hidden_size == 0 || !self.hidden_size.is_multiple_of(heads) {
            return wrong(format!(
                "has a hidden_size of {}, which {heads} heads cannot share",
                self.hidden_size
            ));
        }
        Ok(())
    }

    /// Tokens at most: as many as there are positions, or fewer where the model was made for that.
    fn longest(&self, config: &Path, dir: &Path) -> Result<usize, Fault> {
        // RoBERTa's positions begin after the padding's.
        let taken = match self.model_type.as_str() {
            "xlm-roberta" => self.pad_token_id.saturating_add(1),
            _ => 0,
        };
        let positions = self.max_position_embeddings.saturating_sub(taken);
        let sentence = dir.join(SENTENCE);
        let longest =
            match optional::<SentenceFile>(&sentence)?.and_then(|file| file.max_seq_length) {
                Some(longest) => longest.min(positions),
                None => positions,
            };
        if longest < 8 {
            let what = format!("leaves room for {longest} tokens");
            return Err(Fault::new(config, what, FORMAT));
        }
        Ok(longest)
    }

    fn network(
        &self,
        config: &Path,
        config_bytes: &[u8],
        weights: &Path,
        weight_bytes: Vec<u8>,
    ) -> Result<Network, Fault> {
        let unusable = |error: candle_core::Error| {
            let what = format!("does not hold the weights that config.json asks for: {error}");
            Fault::new(weights, what, FORMAT)
        };
        let tensors = VarBuilder::from_buffered_safetensors(weight_bytes, DType::F32, &Device::Cpu)
            .map_err(unusable)?;
        Ok(match self.model_type.as_str() {
            "xlm-roberta" => {
                let config = parse(config, config_bytes)?;
                let network = xlm_roberta::XLMRobertaModel::new(&config, tensors);
                Network::XlmRoberta(network.map_err(unusable)?)
            }
            _ => {
                let config = parse(config, config_bytes)?;
                Network::Bert(bert::BertModel::load(tensors, &config).map_err(unusable)?)
            }
        })
    }
}

fn read_tokenizer(path: &Path, bytes: &[u8], shape: &Shape) -> Result<Tokenizer, Fault> {
    let wrong = |what: String| Fault::new(path, what, FORMAT);
    let mut tokenizer =
        Tokenizer::from_bytes(bytes).map_err(|error| wrong(format!("is no tokenizer: {error}")))?;
    // Files bring both as they suited somebody's batches.
    tokenizer.with_padding(None);
    tokenizer
        .with_truncation(None)
        .map_err(|error| wrong(error.to_string()))?;
    let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0) as usize;
    if largest >= shape.vocab_size {
        return Err(wrong(format!(
            "has a token number {largest}, and config.json a vocab_size of {}",
            shape.vocab_size
        )));
    }
    Ok(tokenizer)
}

/// Such as `[CLS]` and `[SEP]`.
fn added_tokens(tokenizer: &Tokenizer) -> usize {
    let processor = tokenizer.get_post_processor();
    processor.map_or(0, |processor| processor.added_tokens(false))
}

fn read_pooling(path: &Path) -> Result<Pooling, Fault> {
    match optional::<PoolingFile>(path)? {
        None => Ok(Pooling::Mean),
        Some(file) if file.pooling_mode_mean_tokens => Ok(Pooling::Mean),
        Some(file) if file.pooling_mode_cls_token => Ok(Pooling::Cls),
        Some(_) => {
            let what = "asks for another pooling than that of the mean or of the CLS token";
            Err(Fault::new(path, what, FORMAT))
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(path).map_err(|error| {
        Fault::new(
            path,
            format!("cannot be read: {error}"),
            "check the file and its rights",
        )
    })
}

fn optional<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Fault> {
    match path.try_exists() {
        Ok(false) => Ok(None),
        _ => read(path).and_then(|bytes| parse(path, &bytes)).map(Some),
    }
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes)
        .map_err(|error| Fault::new(path, format!("does not fit: {error}"), FORMAT))
}
