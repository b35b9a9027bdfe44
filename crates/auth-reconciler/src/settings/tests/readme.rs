//! The README's table of settings is the table of settings.

use crate::settings::all::ALL;
use crate::settings::setting::Setting;

const README: &str = include_str!("../../../../../README.md");

/// A setting's line in the README.
fn row(setting: &Setting) -> String {
    let default = match setting.default {
        "" => "–".to_owned(),
        default => format!("`{default}`"),
    };
    let mut range = setting.range.to_string();
    if range.is_empty() {
        range.push('–');
    }
    let Setting {
        env, flag, help, ..
    } = setting;
    format!("| `{env}` | `--{flag}` | {default} | {range} | {help} |")
}

#[test]
fn its_table_says_of_each_setting_what_the_help_says_and_names_no_other() {
    let is_row = |line: &&str| {
        ["| `AUTH_RECONCILER_", "| `DATABASE_"]
            .iter()
            .any(|begin| line.starts_with(begin))
    };
    let told: Vec<&str> = README.lines().filter(is_row).collect();
    let meant: Vec<String> = ALL.iter().map(|setting| row(setting)).collect();
    assert!(
        told == meant,
        "the README's rows should be these:\n{}",
        meant.join("\n")
    );
}
