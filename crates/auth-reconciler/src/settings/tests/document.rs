//! The table of settings in `deploy/README.md` is the table of settings.

use crate::settings::all::ALL;
use crate::settings::setting::Setting;

const DOCUMENT: &str = include_str!("../../../../../deploy/README.md");

/// A setting's line in the document.
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
    let told: Vec<&str> = DOCUMENT.lines().filter(is_row).collect();
    let meant: Vec<String> = ALL.iter().map(|setting| row(setting)).collect();
    assert!(
        told == meant,
        "the rows of deploy/README.md should be these:\n{}",
        meant.join("\n")
    );
}
