//! Plots for the documentation: panels of bars or lines beside each other, as SVG that needs nothing else.

use std::fmt::Write as _;

/// Colours of series, in their order; told apart also without colour, by their order and the legend.
const COLOURS: [&str; 4] = ["#2563a8", "#b9c0c9", "#d9822b", "#4a9c5d"];

/// Size of a panel, and of what stands around what is plotted in it.
const PANEL: (f64, f64) = (400.0, 230.0);
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 42.0;

/// Height of the title and the legend.
const HEAD: f64 = 62.0;

/// Lines across a panel, about.
const TICKS: f64 = 4.0;

/// How the values of a panel are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Side by side, for amounts.
    Bars,
    /// For what changes along the labels.
    Lines,
}

/// Values of one kind, one for each label of the panel.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<f64>,
}

/// A part of a chart with axes of its own.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    pub(crate) title: String,
    /// What the labels are of.
    pub(crate) across: String,
    pub(crate) labels: Vec<String>,
    pub(crate) series: Vec<Series>,
    pub(crate) shape: Shape,
}

/// A plot.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    /// What is plotted, with its unit.
    pub(crate) title: String,
    pub(crate) panels: Vec<Panel>,
}

impl Chart {
    /// Draws it, two panels a row.
    pub(crate) fn svg(&self) -> String {
        let columns = self.panels.len().clamp(1, 2);
        let rows = self.panels.len().div_ceil(2).max(1);
        let (width, height) = (PANEL.0 * columns as f64, HEAD + PANEL.1 * rows as f64);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#1f2933\" role=\"img\">\n\
             <title>{title}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#ffffff\"/>\n\
             <text x=\"16\" y=\"26\" font-size=\"16\" font-weight=\"600\">{title}</text>\n",
            title = escaped(&self.title),
        );
        self.legend(&mut out);
        for (at, panel) in self.panels.iter().enumerate() {
            let (x, y) = (PANEL.0 * (at % 2) as f64, HEAD + PANEL.1 * (at / 2) as f64);
            let _ = writeln!(out, "<g transform=\"translate({x} {y})\">");
            panel.draw(&mut out);
            out.push_str("</g>\n");
        }
        out.push_str("</svg>\n");
        out
    }

    fn legend(&self, out: &mut String) {
        let names = self.panels.first().map(|panel| &panel.series);
        let mut x = 16.0;
        for (series, colour) in names.into_iter().flatten().zip(COLOURS) {
            let _ = writeln!(
                out,
                "<rect x=\"{x}\" y=\"39\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"49\">{}</text>",
                x + 18.0,
                escaped(series.name)
            );
            x += 36.0 + 7.0 * series.name.chars().count() as f64;
        }
    }
}

/// Where a panel's values come to lie.
struct Scale {
    top: f64,
    step: f64,
}

impl Scale {
    /// From zero to a round number above all values.
    fn of(panel: &Panel) -> Self {
        let values = panel.series.iter().flat_map(|series| &series.values).copied();
        let highest = values.filter(|value| value.is_finite()).fold(0.0, f64::max).max(1e-9);
        let rough = highest / TICKS;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|part| part * power);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        Self { top: (highest / step).ceil() * step, step }
    }

    fn y(&self, value: f64) -> f64 {
        let height = PANEL.1 - TOP - BOTTOM;
        TOP + height * (1.0 - value / self.top)
    }
}

impl Panel {
    fn draw(&self, out: &mut String) {
        let scale = Scale::of(self);
        let _ =
            writeln!(out, "<text x=\"{LEFT}\" y=\"18\" font-weight=\"600\">{}</text>", escaped(&self.title));
        self.draw_axes(&scale, out);
        match self.shape {
            Shape::Bars => self.draw_bars(&scale, out),
            Shape::Lines => self.draw_lines(&scale, out),
        }
    }

    /// The middle of a label's share of the width.
    fn x(&self, at: usize) -> f64 {
        LEFT + self.share() * (at as f64 + 0.5)
    }

    fn share(&self) -> f64 {
        (PANEL.0 - LEFT - RIGHT) / self.labels.len().max(1) as f64
    }

    fn draw_axes(&self, scale: &Scale, out: &mut String) {
        let mut value = 0.0;
        while value <= scale.top * 1.001 {
            let y = scale.y(value);
            let _ = writeln!(
                out,
                "<path d=\"M{LEFT} {y:.1}H{:.1}\" stroke=\"#e3e7eb\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#52606d\">{}</text>",
                PANEL.0 - RIGHT,
                LEFT - 7.0,
                y + 4.0,
                number(value, scale.step)
            );
            value += scale.step;
        }
        let floor = PANEL.1 - BOTTOM;
        // As many labels as there is room for.
        let every = self.labels.len().div_ceil(9).max(1);
        for (at, label) in self.labels.iter().enumerate().step_by(every) {
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#52606d\">{}</text>",
                self.x(at),
                floor + 16.0,
                escaped(label)
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#52606d\" font-size=\"11\">{}</text>",
            f64::midpoint(LEFT, PANEL.0 - RIGHT),
            floor + 32.0,
            escaped(&self.across)
        );
    }

    fn draw_bars(&self, scale: &Scale, out: &mut String) {
        let width = (self.share() * 0.72) / self.series.len().max(1) as f64;
        for (which, (series, colour)) in self.series.iter().zip(COLOURS).enumerate() {
            for (at, value) in series.values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
                let x = self.x(at) - self.share() * 0.36 + width * which as f64;
                let y = scale.y(*value);
                let _ = writeln!(
                    out,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                    (width - 1.5).max(1.0),
                    (scale.y(0.0) - y).max(0.5)
                );
            }
        }
    }

    fn draw_lines(&self, scale: &Scale, out: &mut String) {
        for (series, colour) in self.series.iter().zip(COLOURS) {
            let points: Vec<String> = series
                .values
                .iter()
                .enumerate()
                .filter(|(_, value)| value.is_finite())
                .map(|(at, value)| format!("{:.1},{:.1}", self.x(at), scale.y(*value)))
                .collect();
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linejoin=\"round\"/>",
                points.join(" ")
            );
            if points.len() <= 24 {
                for point in &points {
                    if let Some((x, y)) = point.split_once(',') {
                        let _ = writeln!(out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>");
                    }
                }
            }
        }
    }
}

/// A number on an axis with as many places as the steps need.
fn number(value: f64, step: f64) -> String {
    if step >= 1_000.0 {
        let thousands = value / 1_000.0;
        return if step % 1_000.0 == 0.0 { format!("{thousands:.0}k") } else { format!("{thousands:.1}k") };
    }
    let places =
        if step >= 1.0 && step.fract() == 0.0 { 0 } else { (1.0 - step.log10().floor()).max(1.0) as usize };
    format!("{value:.places$}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
