//! Plots as inline SVG, which share one time axis.

use std::fmt::Write as _;

use super::junit::escape;

/// The width of a plot, and what its labels take on either side.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 16.0;
/// What the time axis takes below a plot, and the space above it.
const BELOW: f64 = 22.0;
const ABOVE: f64 = 10.0;
/// The height of a bar, with the gap to the next one.
const BAR: f64 = 24.0;

/// The time axis that all plots of a report share, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeAxis {
    /// Where it begins.
    pub(super) from: f64,
    /// Where the steps end.
    pub(super) reverted: f64,
    /// Where it ends.
    pub(super) to: f64,
}

/// A line of a plot. Gaps are where it has no value.
pub(super) struct Line {
    /// The name in the legend.
    pub(super) label: &'static str,
    /// The style sheet's class for colour and dashes.
    pub(super) class: &'static str,
    /// Times and values.
    pub(super) points: Vec<(f64, Option<f64>)>,
    /// Whether a value holds until the next one.
    pub(super) stairs: bool,
    /// Whether the area below is filled.
    pub(super) filled: bool,
}

/// How values are spread over the height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Evenly from zero to at least this value.
    Linear(f64),
    /// By their logarithms.
    Logarithmic,
}

/// A bar from one time to another.
pub(super) struct Bar<'a> {
    /// The text in it or beside it.
    pub(super) text: &'a str,
    /// When it begins.
    pub(super) from: f64,
    /// When it ends.
    pub(super) until: f64,
}

impl TimeAxis {
    fn x(self, time: f64) -> f64 {
        let span = (self.to - self.from).max(1e-3);
        LEFT + (time - self.from).clamp(0.0, span) / span * (WIDTH - LEFT - RIGHT)
    }

    /// The frame of a plot: the shaded times before and after the steps, and the time axis.
    fn frame(self, height: f64) -> String {
        let mut svg = String::new();
        for (from, to) in [(self.from, 0.0), (self.reverted, self.to)] {
            let (from, to) = (self.x(from), self.x(to));
            if to - from > 0.5 {
                let _ = write!(
                    svg,
                    r#"<rect class="outside" x="{from:.1}" y="{ABOVE}" width="{:.1}" height="{height:.1}"/>"#,
                    to - from
                );
            }
        }
        let bottom = ABOVE + height;
        let step = nice((self.to - self.from) / 8.0);
        let mut time = (self.from / step).ceil() * step;
        while time <= self.to {
            let x = self.x(time);
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{ABOVE}" y2="{bottom:.1}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 15.0,
                seconds(time)
            );
            time += step;
        }
        svg
    }
}

fn svg(label: &str, height: f64, content: &str) -> String {
    let height = height + ABOVE + BELOW;
    let label = escape(label);
    format!(
        r#"<svg viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{label}" xmlns="http://www.w3.org/2000/svg">{content}</svg>"#
    )
}

/// A plot of lines. `write` writes a value of the vertical axis.
pub(super) fn lines(
    label: &str,
    axis: TimeAxis,
    height: f64,
    scale: Scale,
    lines: &[Line],
    write: &dyn Fn(f64) -> String,
) -> String {
    let values = || {
        lines
            .iter()
            .flat_map(|line| &line.points)
            .filter_map(|(_, value)| *value)
    };
    let highest = values().fold(0.0, f64::max);
    let vertical = Vertical::new(
        scale,
        highest,
        values().filter(|value| *value > 0.0).fold(highest, f64::min),
        height,
    );
    let mut content = axis.frame(height);
    for tick in vertical.ticks() {
        let y = vertical.y(tick);
        let _ = write!(
            content,
            r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 4.0,
            escape(&write(tick))
        );
    }
    for line in lines {
        content.push_str(&path(axis, &vertical, line));
    }
    svg(label, height, &content)
}

fn path(axis: TimeAxis, vertical: &Vertical, line: &Line) -> String {
    let mut paths = String::new();
    for part in line.points.split(|(_, value)| value.is_none()) {
        let points: Vec<(f64, f64)> = part
            .iter()
            .filter_map(|(time, value)| Some((axis.x(*time), vertical.y((*value)?))))
            .collect();
        let (Some((first, _)), Some((last, last_y))) = (points.first(), points.last()) else {
            continue;
        };
        let mut path = String::new();
        for (number, (x, y)) in points.iter().enumerate() {
            match number {
                0 => drop(write!(path, "M{x:.1} {y:.1}")),
                _ if line.stairs => drop(write!(path, "H{x:.1}V{y:.1}")),
                _ => drop(write!(path, "L{x:.1} {y:.1}")),
            }
        }
        if line.filled {
            let bottom = ABOVE + vertical.height;
            let _ = write!(
                paths,
                r#"<path class="area {}" d="{path}L{last:.1} {bottom:.1}L{first:.1} {bottom:.1}Z"/>"#,
                line.class
            );
        }
        if points.len() == 1 {
            let _ = write!(
                paths,
                r#"<circle class="dot {}" cx="{last:.1}" cy="{last_y:.1}" r="2.5"/>"#,
                line.class
            );
        }
        let _ = write!(paths, r#"<path class="line {}" d="{path}"/>"#, line.class);
    }
    paths
}

/// A plot of bars, one below the other.
pub(super) fn bars(label: &str, axis: TimeAxis, bars: &[Bar<'_>]) -> String {
    let height = BAR * bars.len() as f64 + 4.0;
    let mut content = axis.frame(height);
    for (number, bar) in bars.iter().enumerate() {
        let (from, until) = (axis.x(bar.from), axis.x(bar.until));
        let y = ABOVE + 4.0 + BAR * number as f64;
        let _ = write!(
            content,
            r#"<rect class="bar" x="{from:.1}" y="{y:.1}" width="{:.1}" height="{:.1}" rx="3"><title>{} from {} to {}</title></rect>"#,
            (until - from).max(2.0),
            BAR - 6.0,
            escape(bar.text),
            seconds(bar.from),
            seconds(bar.until)
        );
        // About the width of a character of the labels.
        let room = 6.2 * bar.text.chars().count() as f64 + 16.0;
        let (x, anchor) = if from + room <= WIDTH - RIGHT {
            (from + 8.0, "start")
        } else {
            ((WIDTH - RIGHT - 4.0).max(LEFT + room.min(WIDTH - LEFT - RIGHT)), "end")
        };
        let _ = write!(
            content,
            r#"<text class="on-bar" x="{x:.1}" y="{:.1}" text-anchor="{anchor}">{}</text>"#,
            y + 13.0,
            escape(bar.text)
        );
    }
    svg(label, height, &content)
}

/// The vertical axis of a plot.
struct Vertical {
    scale: Scale,
    from: f64,
    to: f64,
    height: f64,
}

impl Vertical {
    fn new(scale: Scale, highest: f64, lowest: f64, height: f64) -> Vertical {
        let (from, to) = match scale {
            Scale::Linear(least) => {
                let to = highest.max(least);
                (0.0, (to / nice(to / 4.0)).ceil() * nice(to / 4.0))
            }
            Scale::Logarithmic => {
                let highest = if highest > 0.0 { highest } else { 1.0 };
                let lowest = if lowest > 0.0 { lowest } else { highest };
                let (from, to) = (10_f64.powf(lowest.log10().floor()), 10_f64.powf(highest.log10().ceil()));
                (from, to.max(from * 10.0))
            }
        };
        Vertical {
            scale,
            from,
            to,
            height,
        }
    }

    fn y(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear(_) => value / self.to,
            Scale::Logarithmic => (value.max(self.from) / self.from).log10() / (self.to / self.from).log10(),
        };
        ABOVE + self.height * (1.0 - share.clamp(0.0, 1.0))
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear(_) => {
                let step = nice(self.to / 4.0);
                (0..=5)
                    .map(|number| f64::from(number) * step)
                    .filter(|tick| *tick <= self.to * 1.001)
                    .collect()
            }
            Scale::Logarithmic => {
                let decades = (self.to / self.from).log10().round() as i32;
                let parts: &[f64] = if decades > 2 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                let ticks =
                    (0..=decades.min(12)).flat_map(|decade| parts.iter().map(move |part| part * 10_f64.powi(decade)));
                ticks
                    .map(|tick| tick * self.from)
                    .filter(|tick| *tick <= self.to * 1.001)
                    .collect()
            }
        }
    }
}

/// The next number that is 1, 2 or 5 times a power of ten.
fn nice(value: f64) -> f64 {
    if value.is_nan() || value <= 0.0 {
        return 1.0;
    }
    let unit = 10_f64.powf(value.log10().floor());
    let found = [1.0, 2.0, 5.0].into_iter().find(|part| part * unit >= value * 0.999);
    found.unwrap_or(10.0) * unit
}

/// A time in seconds, in words: `-10s`, `2.5s`, `1m30s`.
pub(super) fn seconds(time: f64) -> String {
    // Adding zero makes zero of a negative zero.
    let tenths = (time * 10.0).round() / 10.0 + 0.0;
    if tenths.abs() < 60.0 {
        return format!("{tenths}s");
    }
    let sign = if tenths < 0.0 { "-" } else { "" };
    let whole = tenths.abs().round() as u64;
    match (whole / 60, whole % 60) {
        (minutes, 0) => format!("{sign}{minutes}m"),
        (minutes, rest) => format!("{sign}{minutes}m{rest}s"),
    }
}
