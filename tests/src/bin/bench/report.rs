//! What was measured, as a table for people and as JSON for programs.

use std::fmt;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::figures::{Spread, ratios};
use crate::machine::Machine;
use crate::options::Part;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn met(self, measured: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::RatioAtMost(bound) => ratio.map(|ratio| ratio <= bound),
            Self::RatioAtLeast(bound) => ratio.map(|ratio| ratio >= bound),
            Self::AtMost(bound) => Some(measured <= bound),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RatioAtMost(bound) => write!(f, "ratio ≤ {bound}"),
            Self::RatioAtLeast(bound) => write!(f, "ratio ≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
        }
    }
}

/// One thing that was measured, once a round, and what it is compared with.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) part: Part,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    /// The floor, or whatever the part compares with; empty where there is nothing.
    pub(crate) base: Vec<f64>,
    pub(crate) measured: Vec<f64>,
    pub(crate) goal: Option<Goal>,
}

/// A line whose figures are still to come.
pub(crate) fn line(part: Part, what: impl Into<String>, unit: &'static str) -> Line {
    Line {
        part,
        what: what.into(),
        unit,
        base: Vec::new(),
        measured: Vec::new(),
        goal: None,
    }
}

impl Line {
    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    pub(crate) fn base(mut self, base: &[f64]) -> Self {
        self.base = base.to_vec();
        self
    }

    pub(crate) fn measured(mut self, measured: &[f64]) -> Self {
        self.measured = measured.to_vec();
        self
    }

    /// Base and figure of one round.
    pub(crate) fn push(&mut self, base: f64, measured: f64) {
        self.base.push(base);
        self.measured.push(measured);
    }

    fn ratio(&self) -> Option<Spread> {
        Spread::of(&ratios(&self.base, &self.measured))
    }

    /// Whether the goal is met; `None` where there is none, or nothing to compare with.
    fn met(&self) -> Option<bool> {
        let measured = Spread::of(&self.measured)?.median;
        self.goal?
            .met(measured, self.ratio().map(|ratio| ratio.median))
    }

    fn json(&self, judged: bool) -> Value {
        let spread = |spread: Option<Spread>| {
            spread.map(
                |spread| json!({ "median": spread.median, "low": spread.low, "high": spread.high }),
            )
        };
        json!({
            "part": self.part.name(),
            "what": self.what,
            "unit": self.unit,
            "base": self.base,
            "measured": self.measured,
            "base_spread": spread(Spread::of(&self.base)),
            "measured_spread": spread(Spread::of(&self.measured)),
            "ratio": spread(self.ratio()),
            "goal": self.goal.map(|goal| goal.to_string()),
            "met": self.met().filter(|_| judged),
        })
    }
}

/// Everything that was measured in one run.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Whether it is said of each goal if it was met: figures of a few rows, or of a debug build, prove nothing.
    judged: bool,
    lines: Vec<Line>,
}

impl Report {
    pub(crate) fn new(machine: Machine, smoke: bool) -> Self {
        Self {
            judged: !smoke && !machine.is_debug_build(),
            machine,
            lines: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Every part that was asked for has measured something, and no figure is none.
    pub(crate) fn ensure_complete(&self, parts: &[Part]) -> Result<()> {
        for part in parts {
            let has_lines = self.lines.iter().any(|line| line.part == *part);
            ensure!(has_lines, "part {} measured nothing", part.name());
        }
        for line in &self.lines {
            let figures = line.base.iter().chain(&line.measured);
            let sound = figures
                .copied()
                .all(|figure| figure.is_finite() && figure >= 0.0);
            if line.measured.is_empty() || !sound {
                bail!(
                    "{}, {}: {:?} is no figure",
                    line.part.name(),
                    line.what,
                    line.measured
                );
            }
        }
        Ok(())
    }

    pub(crate) fn json(&self) -> Value {
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| line.json(self.judged))
            .collect();
        json!({ "machine": self.machine.json(), "lines": lines })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}\n", self.machine)?;
        writeln!(
            f,
            "{:<9} {:<66} {:>9} {:>9} {:>9} {:<16} goal",
            "part", "what", "base", "measured", "ratio", "(lowest, highest)"
        )?;
        for line in &self.lines {
            let median =
                |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), |s| short(s.median));
            let ratio = line.ratio();
            let spread =
                ratio.map(|ratio| format!("({}, {})", short(ratio.low), short(ratio.high)));
            let goal = match (line.goal, line.met().filter(|_| self.judged)) {
                (Some(goal), Some(true)) => format!("{goal}: met"),
                (Some(goal), Some(false)) => format!("{goal}: MISSED"),
                (Some(goal), None) => goal.to_string(),
                (None, _) => String::new(),
            };
            writeln!(
                f,
                "{:<9} {:<66} {:>9} {:>9} {:>9} {:<16} {goal}",
                line.part.name(),
                format!("{}, {}", line.what, line.unit),
                median(Spread::of(&line.base)),
                median(Spread::of(&line.measured)),
                median(ratio),
                spread.unwrap_or_default()
            )?;
        }
        Ok(())
    }
}

/// Three digits or so: more would pretend.
fn short(figure: f64) -> String {
    if figure >= 100.0 {
        format!("{figure:.0}")
    } else if figure >= 10.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.2}")
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::{Goal, Line, Part, Report, line};
    use crate::machine::Machine;

    fn report(lines: Vec<Line>) -> Report {
        let mut report = Report::new(Machine::default(), false);
        report.judged = true;
        lines.into_iter().for_each(|line| report.add(line));
        report
    }

    #[test]
    fn each_round_is_compared_with_its_own_base() -> Result<()> {
        // The machine was half as fast in the second round, for both: that is no difference between them.
        let ours = line(Part::Burst, "rows", "rows/s")
            .goal(Goal::RatioAtLeast(0.5))
            .base(&[100.0, 50.0, 80.0])
            .measured(&[50.0, 25.0, 40.0]);
        let json = report(vec![ours]).json();
        assert_eq!(json["lines"][0]["ratio"]["low"], 0.5);
        assert_eq!(json["lines"][0]["ratio"]["high"], 0.5);
        assert_eq!(json["lines"][0]["met"], true);
        Ok(())
    }

    #[test]
    fn a_part_without_figures_is_an_error() {
        let measured = line(Part::Burst, "rows", "rows/s").measured(&[1.0]);
        assert!(
            report(vec![measured])
                .ensure_complete(&[Part::Burst])
                .is_ok()
        );
        assert!(report(Vec::new()).ensure_complete(&[Part::Burst]).is_err());
        let empty = line(Part::Burst, "rows", "rows/s");
        assert!(report(vec![empty]).ensure_complete(&[Part::Burst]).is_err());
        let nonsense = line(Part::Burst, "rows", "rows/s").measured(&[f64::INFINITY]);
        assert!(
            report(vec![nonsense])
                .ensure_complete(&[Part::Burst])
                .is_err()
        );
    }
}
