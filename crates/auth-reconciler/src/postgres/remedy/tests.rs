//! That the table is whole: no row is hidden by another, and nobody is left without advice.

use postgres_url::Failure;

use super::*;

/// Whether every error of the later row is one of the earlier's.
fn hides(earlier: &Met, later: &Met) -> bool {
    match (earlier, later) {
        (Met::Code(all), Met::Code(some)) => some.iter().all(|code| all.contains(code)),
        (Met::Failed(all), Met::Failed(some)) => some.iter().all(|one| all.contains(one)),
        (Met::OursMissing, Met::OursMissing)
        | (Met::Closed, Met::Closed)
        | (Met::TheirCode, Met::TheirCode | Met::OursMissingInTheirCode)
        | (Met::OursMissingInTheirCode, Met::OursMissingInTheirCode)
        | (Met::OursMissing, Met::OursMissingInTheirCode) => true,
        (
            Met::Code(_)
            | Met::Failed(_)
            | Met::Closed
            | Met::OursMissing
            | Met::TheirCode
            | Met::OursMissingInTheirCode,
            _,
        ) => false,
    }
}

#[test]
fn no_row_is_hidden_by_an_earlier_one() {
    for (place, later) in TABLE.iter().enumerate() {
        for earlier in &TABLE[..place] {
            let both = later.acts.iter().any(|act| earlier.acts.contains(act));
            assert!(
                !(both && hides(&earlier.met, &later.met)),
                "{later:?} is hidden by {earlier:?}"
            );
        }
    }
}

#[test]
fn whoever_cannot_connect_is_told_what_to_do() {
    for failure in [
        Failure::Refused,
        Failure::NoSocket,
        Failure::Silent,
        Failure::Unreachable,
        Failure::UnknownHost,
        Failure::Closed,
        Failure::Forbidden,
        Failure::NoPassword,
        Failure::UnknownMethod,
        Failure::ReadOnly,
        Failure::NoTls,
        Failure::NoChannelBinding,
        Failure::NoCertificateName,
        Failure::NotTls,
        Failure::OldTls,
        Failure::ClientRefused,
        Failure::OtherAuthority,
        Failure::OtherName,
        Failure::Expired,
        Failure::NotYetValid,
        Failure::UnusableCertificate,
    ] {
        for act in [Act::Connect, Act::Listen, Act::Change] {
            let told = TABLE.iter().any(|row| {
                row.acts.contains(&act)
                    && matches!(row.met, Met::Failed(failures) if failures.contains(&failure))
            });
            assert!(told, "no advice for {failure:?} on {act:?}");
        }
    }
}
