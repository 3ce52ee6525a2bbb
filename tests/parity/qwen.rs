//! Qwen2.5-VL against transformers: `fixtures/generate/qwen.py`.

#[path = "qwen/answers.rs"]
mod answers;
#[path = "qwen/json.rs"]
mod json;
#[path = "qwen/refusals.rs"]
mod refusals;
#[path = "qwen/stages.rs"]
mod stages;

use candle_core::{DType, Tensor};
use dragunov_models::RgbImage;
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::observer::Unobserved;
use dragunov_models::qwen_vl::{
    Content, EncodedPrompt, GenerateOptions, Message, Prompt, QwenVl, Role, Sampling,
};
use serde::Deserialize;

use super::compare::{device, fixture};
use super::golden::Golden;

/// Integers and texts of one case.
#[derive(Deserialize)]
struct Case {
    input_ids: Vec<Vec<u32>>,
    attention_mask: Vec<Vec<u8>>,
    grid: Vec<[usize; 3]>,
    position_ids: [Vec<Vec<u32>>; 3],
    rope_deltas: Vec<i64>,
    window_index: Vec<usize>,
    cu_window_seqlens: Vec<usize>,
    greedy: Vec<Vec<u32>>,
    text: Vec<String>,
    with_generation_config: Option<Vec<Vec<u32>>>,
}

#[derive(Deserialize)]
struct Plain {
    input_ids: Vec<Vec<u32>>,
    greedy: Vec<Vec<u32>>,
}

fn golden_json() -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(fixture("qwen-golden.json")).unwrap()).unwrap()
}

fn case(name: &str) -> Case {
    serde_json::from_value(golden_json()[name].clone()).unwrap()
}

fn golden() -> Golden {
    Golden::open("qwen-golden.safetensors")
}

fn load(name: &str) -> QwenVl {
    QwenVl::load(&Checkpoint::open(fixture(name)).unwrap(), DType::F32, &device()).unwrap()
}

fn photo(name: &str) -> RgbImage {
    let golden = golden();
    let tensor = golden.whole(&format!("photo.{name}"));
    let (h, w, _) = tensor.dims3().unwrap();
    RgbImage::new(w, h, tensor.flatten_all().unwrap().to_vec1().unwrap()).unwrap()
}

/// One user message; `None` stands for the next photo.
fn prompt(parts: &[Option<&str>], photos: &[&str]) -> Prompt {
    let mut photos = photos.iter();
    let content = parts
        .iter()
        .map(|part| match part {
            Some(text) => Content::Text((*text).into()),
            None => Content::Image(photo(photos.next().unwrap())),
        })
        .collect();
    Prompt {
        messages: vec![Message {
            role: Role::User,
            content,
        }],
    }
}

const QUESTION: &str = "What is this? Answer in JSON.";

fn prompts(name: &str) -> Vec<Prompt> {
    let ask = |photo| prompt(&[None, Some(QUESTION)], &[photo]);
    match name {
        "one" => vec![ask("a")],
        "two" => {
            let parts = [
                Some("Compare "),
                None,
                Some(" with "),
                None,
                Some(". Which is rice?"),
            ];
            vec![prompt(&parts, &["c", "a"])]
        }
        "batch" => vec![prompt(&[None, Some("What?")], &["b"]), ask("odd")],
        "tied" => vec![ask("big")],
        "text_only" => vec![prompt(&[Some("You are what?")], &[])],
        other => panic!("{other}"),
    }
}

fn encode(model: &QwenVl, name: &str) -> Vec<EncodedPrompt> {
    prompts(name).iter().map(|p| model.encode(p).unwrap()).collect()
}

fn greedy(max_new_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_new_tokens,
        min_new_tokens: max_new_tokens,
        sampling: Sampling::Greedy,
        repetition_penalty: 1.,
    }
}

/// Nobody reads what is computed where a row is padded. Zero there, as in the golden file.
fn without_padding(t: &Tensor, mask: &[Vec<u8>]) -> Tensor {
    let shape = (mask.len(), mask[0].len(), 1);
    let flat: Vec<f32> = mask.iter().flatten().map(|&m| f32::from(m)).collect();
    t.broadcast_mul(&Tensor::from_vec(flat, shape, t.device()).unwrap())
        .unwrap()
}

/// Tokens of the greedy answers, which use the cache; compared with the reference's, which agree with and without.
fn greedy_of(model: &QwenVl, name: &str) -> Vec<Vec<u32>> {
    let answers = model
        .generate_batch(&encode(model, name), &greedy(8), &mut Unobserved)
        .unwrap();
    answers.into_iter().map(|a| a.token_ids).collect()
}

/// Greedy answers to the prompts of a case are the reference's.
#[track_caller]
pub fn answers_rightly(model: &QwenVl, name: &str) {
    assert_eq!(greedy_of(model, name), case(name).greedy, "{name}");
}
