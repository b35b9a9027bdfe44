//! Variables of the environment that were meant for us and are heeded by nobody.

use std::ffi::OsString;

use super::all::ALL;

const PREFIX: &str = "AUTH_RECONCILER_";

/// A variable whose name is none of a setting, though it looks like one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misspelt {
    /// As it stands in the environment.
    pub(crate) name: String,
    /// What was probably meant.
    pub(crate) nearest: Option<&'static str>,
}

/// Those of these names that begin as ours do, or nearly are one of ours, and are none.
pub(crate) fn misspelt(names: impl IntoIterator<Item = OsString>) -> Vec<Misspelt> {
    let ours = || ALL.iter().map(|setting| setting.env);
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    let mut found: Vec<Misspelt> = names
        .filter(|name| !ours().any(|env| env == name))
        .filter_map(|name| {
            let candidates = ours().filter(|env| env.starts_with(PREFIX));
            let (distance, nearest) = candidates
                .map(|env| (strsim::damerau_levenshtein(env, &name), env))
                .min()?;
            let tail = name.len().saturating_sub(PREFIX.len());
            // A third of it may be wrong where it is surely meant for us, else two characters of the whole.
            let near = distance <= 2 || name.starts_with(PREFIX) && 3 * distance <= tail;
            (near || name.starts_with(PREFIX)).then(|| Misspelt {
                nearest: near.then_some(nearest),
                name,
            })
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_heeds_is_told_with_the_nearest_one() {
        let environment = [
            "AUTH_RECONCILER_PROBE_ULR",
            "AUTH_RECONCILLER_TABLE",
            "AUTH_RECONCILER_SOMETHING_OF_NOBODY_S",
            "AUTH_RECONCILER_TABLE",
            "DATABASE_URL",
            "DB_HOST",
            "PATH",
        ];
        let found = misspelt(environment.map(OsString::from));
        let told: Vec<_> = found
            .iter()
            .map(|one| (one.name.as_str(), one.nearest))
            .collect();
        assert_eq!(
            told,
            [
                (
                    "AUTH_RECONCILER_PROBE_ULR",
                    Some("AUTH_RECONCILER_PROBE_URL")
                ),
                ("AUTH_RECONCILER_SOMETHING_OF_NOBODY_S", None),
                ("AUTH_RECONCILLER_TABLE", Some("AUTH_RECONCILER_TABLE")),
            ]
        );
    }
}
