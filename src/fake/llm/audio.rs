//! OpenAI's audio: speech is silence of a plausible length, and a transcription is a made-up text.

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::openai::{Wrong, misbehave, model_name};
use super::{Call, Llm, Misbehaviour, event, event_stream, files, pace, text};
use crate::fake::forms::Form;
use crate::fake::reply::scheduled;

const INPUT_LIMIT: usize = 4096;
/// Of the speech, and of what is transcribed, per second.
const CHARACTERS: usize = 15;
/// Samples a second of speech, two bytes each.
const RATE: usize = 24_000;

/// An empty frame of MPEG-1's layer III: 128 kbit/s and 44.1 kHz, so that 417 bytes last 26 ms. It decodes to silence.
const MP3_HEAD: [u8; 4] = [0xff, 0xfb, 0x90, 0xc4];
const MP3_FRAME: usize = 417;
const MP3_MILLISECONDS: usize = 26;

/// `POST /v1/audio/speech`
pub(super) async fn speak(llm: &Llm, call: &Call, body: &Value) -> Response {
    let (model, format, seconds) = match read_speech(body) {
        Ok(read) => read,
        Err((parameter, message)) => return call.invalid(parameter, &message),
    };
    if let Some(response) = misbehave(call, Misbehaviour::of(&model).as_ref(), false).await {
        return response;
    }
    call.wait(llm.pace.first).await;
    let silence = vec![0; (seconds * RATE as f64) as usize * 2];
    let (media_type, sound) = match format.as_str() {
        "wav" => ("audio/wav", wav(&silence)),
        "pcm" => ("audio/pcm", silence),
        _ => {
            let frames = (seconds * 1000.0) as usize / MP3_MILLISECONDS + 1;
            let frame = MP3_HEAD
                .into_iter()
                .chain(std::iter::repeat_n(0, MP3_FRAME - MP3_HEAD.len()));
            ("audio/mpeg", frame.collect::<Vec<_>>().repeat(frames))
        }
    };
    call.marked(files::bytes(media_type, sound.into()))
}

fn read_speech(body: &Value) -> Result<(String, String, f64), Wrong> {
    let model = model_name(body)?;
    let input = body.get("input").and_then(Value::as_str).unwrap_or_default();
    let length = input.chars().count();
    if !(1..=INPUT_LIMIT).contains(&length) {
        return Err((
            Some("input"),
            format!("'input' must be a string of 1 to {INPUT_LIMIT} characters."),
        ));
    }
    if !body
        .get("voice")
        .is_some_and(|voice| voice.is_string() || voice.is_object())
    {
        return Err((Some("voice"), "Missing required parameter: 'voice'.".to_owned()));
    }
    let format = body.get("response_format").and_then(Value::as_str).unwrap_or("mp3");
    if !["mp3", "wav", "pcm"].contains(&format) {
        let message = format!("The fake speaks 'mp3', 'wav' and 'pcm', and not '{format}'.");
        return Err((Some("response_format"), message));
    }
    let speed = body.get("speed").map_or(Some(1.0), Value::as_f64);
    let speed = speed.filter(|speed| (0.25..=4.0).contains(speed));
    let speed = speed.ok_or_else(|| (Some("speed"), "'speed' must be between 0.25 and 4.".to_owned()))?;
    #[expect(clippy::cast_precision_loss, reason = "at most 4096")]
    let seconds = length as f64 / CHARACTERS as f64 / speed;
    Ok((model, format.to_owned(), seconds))
}

/// The samples with a header (RIFF WAVE, PCM, one channel).
fn wav(samples: &[u8]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    let head: [&[u8]; 11] = [
        b"RIFF",
        &number(samples.len() + 36),
        b"WAVE",
        b"fmt ",
        &number(16),
        &[1, 0, 1, 0],
        &number(RATE),
        &number(RATE * 2),
        &[2, 0, 16, 0],
        b"data",
        &number(samples.len()),
    ];
    [&head.concat(), samples].concat()
}

/// `POST /v1/audio/transcriptions`, `POST /v1/audio/translations`
pub(super) async fn transcribe(llm: &Llm, call: &Call, form: &Form, task: &str) -> Response {
    let field = |name: &str| {
        let found = form.fields.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    let Some(file) = form.files.iter().find(|file| file.name == "file") else {
        return call.invalid(Some("file"), "Missing required parameter: 'file'.");
    };
    let Some(model) = field("model").filter(|model| !model.is_empty()) else {
        return call.invalid(None, "you must provide a model parameter");
    };
    let streamed = field("stream") == Some("true");
    if let Some(response) = misbehave(call, Misbehaviour::of(model).as_ref(), streamed).await {
        return response;
    }
    let heard = format!("{}\n{}", file.filename, String::from_utf8_lossy(&file.content));
    let mut dice = text::dice(llm.pace.seed, &heard, 0);
    let said = text::reply(&mut dice, field("prompt").unwrap_or_default(), 1000);
    let tokens = text::count(&said);
    let usage =
        json!({ "type": "tokens", "input_tokens": tokens, "output_tokens": tokens, "total_tokens": 2 * tokens });
    if streamed {
        let done = json!({ "type": "transcript.text.done", "text": said, "usage": usage });
        let deltas = text::Tokens::new(&said);
        let deltas = deltas.map(|token| event(&json!({ "type": "transcript.text.delta", "delta": token })));
        let times = (llm.pace.first, call.end(llm, tokens));
        let due = llm.pace.due(call.number);
        let pieces = pace::pieces(
            due,
            times,
            Vec::new(),
            deltas.collect::<Vec<_>>().into_iter(),
            vec![event(&done)],
        );
        call.wait(llm.pace.first).await;
        return call.marked(event_stream(scheduled(call.arrived, pieces)));
    }
    call.wait(call.end(llm, tokens)).await;
    let segments = segments(&said);
    let end = segments.last().map_or(0.0, |segment| segment.end);
    match field("response_format").unwrap_or("json") {
        "json" => call.reply(StatusCode::OK, &json!({ "text": said, "usage": usage })),
        "verbose_json" => {
            let shown: Vec<_> = segments
                .iter()
                .enumerate()
                .map(|(id, segment)| segment.shown(id))
                .collect();
            let verbose = json!({
                "task": task, "language": "english", "duration": end, "text": said, "segments": shown,
                "usage": { "type": "duration", "seconds": end.ceil() },
            });
            call.reply(StatusCode::OK, &verbose)
        }
        "text" => plain(call, "text/plain; charset=utf-8", format!("{said}\n")),
        "srt" => {
            let parts = segments.iter().zip(1..).map(|(segment, number)| {
                format!(
                    "{number}\n{} --> {}\n{}\n\n",
                    clock(segment.start, ','),
                    clock(segment.end, ','),
                    segment.text
                )
            });
            plain(call, "text/plain; charset=utf-8", parts.collect())
        }
        "vtt" => {
            let parts = segments.iter().map(|segment| {
                format!(
                    "{} --> {}\n{}\n\n",
                    clock(segment.start, '.'),
                    clock(segment.end, '.'),
                    segment.text
                )
            });
            plain(
                call,
                "text/vtt; charset=utf-8",
                format!("WEBVTT\n\n{}", parts.collect::<String>()),
            )
        }
        other => {
            let known = "'json', 'text', 'srt', 'verbose_json', and 'vtt'";
            let message = format!("Invalid value: '{other}'. Supported values are: {known}.");
            call.invalid(Some("response_format"), &message)
        }
    }
}

fn plain(call: &Call, media_type: &'static str, text: String) -> Response {
    let mut response = call.marked(files::bytes(media_type, Bytes::from(text)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    response
}

/// A sentence, with its times in seconds.
struct SpokenSegment<'a> {
    start: f64,
    end: f64,
    text: &'a str,
}

impl SpokenSegment<'_> {
    fn shown(&self, id: usize) -> Value {
        json!({
            "id": id, "seek": 0, "start": self.start, "end": self.end, "text": self.text, "tokens": [50364 + id],
            "temperature": 0.0, "avg_logprob": -0.3, "compression_ratio": 1.2, "no_speech_prob": 0.01,
        })
    }
}

fn segments(said: &str) -> Vec<SpokenSegment<'_>> {
    let mut start = 0.0;
    let sentences = said
        .split_inclusive(". ")
        .map(str::trim)
        .filter(|text| !text.is_empty());
    sentences
        .map(|text| {
            #[expect(clippy::cast_precision_loss, reason = "a length in seconds")]
            let end = start + text.chars().count() as f64 / CHARACTERS as f64;
            let segment = SpokenSegment { start, end, text };
            start = end;
            segment
        })
        .collect()
}

/// `00:00:01,500`
fn clock(seconds: f64, point: char) -> String {
    let milliseconds = (seconds * 1000.0) as u64;
    let (hours, minutes) = (milliseconds / 3_600_000, milliseconds / 60_000 % 60);
    format!(
        "{hours:02}:{minutes:02}:{:02}{point}{:03}",
        milliseconds / 1000 % 60,
        milliseconds % 1000
    )
}
