//! Numbers.

use serde_json::Value;

use super::Maker;
use super::layers::SchemaLayers;
use crate::fake::made_up::fields;

/// Where a whole number of 64 bits ends, as a floating-point one.
const WHOLE_END: f64 = 9_223_372_036_854_775_808.0;

/// How often another multiple is tried.
const MULTIPLES_LIMIT: usize = 32;

/// Seconds since 1970: from 2015 to 2024.
const EPOCH: (i64, i64) = (1_420_070_400, 1_735_689_599);

/// What a number lies between, and whether the ends are excluded.
struct Bounds {
    least: Option<(f64, bool)>,
    most: Option<(f64, bool)>,
}

impl Bounds {
    fn of(layers: &SchemaLayers<'_>) -> Self {
        let mut bounds = Self {
            least: None,
            most: None,
        };
        for layer in layers.iter() {
            let number = |key: &str| layer.get(key).and_then(Value::as_f64);
            let marked = |key: &str| layer.get(key) == Some(&Value::Bool(true));
            for (limit, excluded) in [
                (number("minimum"), marked("exclusiveMinimum")),
                (number("exclusiveMinimum"), true),
            ] {
                if let Some(limit) = limit {
                    let tighter = bounds.least.is_none_or(|(least, _)| limit >= least);
                    bounds.least = if tighter { Some((limit, excluded)) } else { bounds.least };
                }
            }
            for (limit, excluded) in [
                (number("maximum"), marked("exclusiveMaximum")),
                (number("exclusiveMaximum"), true),
            ] {
                if let Some(limit) = limit {
                    let tighter = bounds.most.is_none_or(|(most, _)| limit <= most);
                    bounds.most = if tighter { Some((limit, excluded)) } else { bounds.most };
                }
            }
        }
        bounds
    }

    /// Both ends; one that is not given is not far from the other.
    fn ends(&self) -> (f64, f64) {
        match (self.least, self.most) {
            (Some((least, _)), Some((most, _))) => (least, most.max(least)),
            (Some((least, _)), None) => (least, least.abs().mul_add(2.0, least + 1000.0)),
            (None, Some((most, _))) => (if most >= 1.0 { 1.0 } else { most - 1000.0 }, most),
            (None, None) => (1.0, 1000.0),
        }
    }
}

impl<'a> Maker<'a> {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    #[expect(clippy::cast_precision_loss, reason = "a bound")]
    pub(super) fn integer(&mut self, layers: &SchemaLayers<'a>, name: &str) -> Value {
        let bounds = Bounds::of(layers);
        let (least, most) = bounds.ends();
        if least >= WHOLE_END || most < -WHOLE_END {
            let end = if least >= WHOLE_END { least.ceil() } else { most.floor() };
            return Value::from(end);
        }
        let (mut least, mut most) = (least.ceil() as i64, most.floor() as i64);
        if bounds
            .least
            .is_some_and(|(bound, excluded)| excluded && least as f64 <= bound)
        {
            least = least.saturating_add(1);
        }
        if bounds
            .most
            .is_some_and(|(bound, excluded)| excluded && most as f64 >= bound)
        {
            most = most.saturating_sub(1);
        }
        if bounds.most.is_none() && least <= EPOCH.0 && is_moment(layers, name) {
            let unit = if name.to_ascii_lowercase().contains("ms") || name.contains("illis") {
                1000
            } else {
                1
            };
            return (fields::integer(EPOCH.0, EPOCH.1, &mut self.dice) * unit).into();
        }
        let step = layers
            .values("multipleOf")
            .filter_map(Value::as_f64)
            .fold(1, |step, of| {
                // The least common multiple, as long as it is found at once.
                let of = (1..=1000)
                    .map(|n| of * f64::from(n))
                    .find(|multiple| multiple.fract() == 0.0);
                let of = of.map_or(1, |of| of as i64).max(1);
                if step % of == 0 { step } else { step.saturating_mul(of) }
            });
        let first = least.div_euclid(step) + i64::from(least.rem_euclid(step) != 0);
        fields::integer(first, most.div_euclid(step), &mut self.dice)
            .saturating_mul(step)
            .into()
    }

    pub(super) fn number(&mut self, layers: &SchemaLayers<'a>) -> Value {
        let bounds = Bounds::of(layers);
        let (least, most) = bounds.ends();
        let step = layers.get("multipleOf").and_then(Value::as_f64);
        if let Some(step) = step.filter(|step| *step > 0.0) {
            return self.multiple(step, least, most);
        }
        // Away from the ends, which may be excluded.
        let margin = (most - least) / 1000.0;
        fields::number(least + margin, most - margin, &mut self.dice)
    }

    /// A multiple that is one for clients that divide floating-point numbers, too.
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    #[expect(clippy::cast_precision_loss, reason = "a made-up number")]
    fn multiple(&mut self, step: f64, least: f64, most: f64) -> Value {
        let (first, last) = ((least / step).ceil() as i64, (most / step).floor() as i64);
        let mut value = 0.0;
        for _ in 0..MULTIPLES_LIMIT {
            let number = fields::integer(first, last, &mut self.dice) as f64 * step;
            value = (number * 1e9).round() / 1e9;
            if (value / step).fract() == 0.0 {
                break;
            }
        }
        Value::from(value)
    }
}

/// Whether a whole number is seconds since 1970.
fn is_moment(layers: &SchemaLayers<'_>, name: &str) -> bool {
    let format = layers.text("format").unwrap_or_default();
    let name = name.to_ascii_lowercase();
    matches!(
        format,
        "unix-time" | "unixtime" | "timestamp" | "unix-timestamp" | "epoch"
    ) || name.ends_with("_at")
        || name.contains("timestamp")
        || name == "created"
}
