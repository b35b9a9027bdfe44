//! No secret in help, errors or debug output, whatever mistake was made.

use std::ffi::OsString;

use super::super::Settings;
use super::{URL, parse, refused, told};

#[test]
fn the_help_never_shows_values_of_the_environment() {
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["doctor", "--help"],
        &[],
    ] {
        let error = parse(arguments, &[URL, ("DATABASE_PASSWORD", "hunter2")]).unwrap_err();
        let text = told(error);
        assert!(
            text.contains("DATABASE_URL") || text.contains("database-url"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn no_error_repeats_a_secret() {
    let urls = [
        "postgres://u:hunter2@h:port/d",
        "postgres://u:hunter2/x@h/d",
        "postgres://u:1/hunter2@h/d",
        "postgres://u:1?hunter2=x@h/d",
        "postgres://u:hunter2@h/d?nonsense=hunter2",
        "postgres://u:hunter2@h/d?sslmode=verify-full",
        "postgres://h/d?user=u&password=1&hunter2=x",
        "postgres://hunter2",
        "\"postgres://u:hunter2@h/d\"",
        "mysql://u:hunter2@h/d",
        "hunter2",
        "host=h password=1 hunter2",
        "host=h password=1 hunter2=x",
        "host=h password='hunter2",
    ];
    for url in urls {
        let text = told(parse(&["migrate", "--database-url", url], &[]).unwrap_err());
        assert!(!text.contains("hunter2"), "{url}: {text}");
        assert!(text.contains("--database-url (DATABASE_URL)"), "{text}");
        let error = parse(&["run"], &[("DATABASE_URL", url)]).unwrap_err();
        assert!(
            !format!("{error:?}").contains("hunter2"),
            "{url}: {error:?}"
        );
    }
    for arguments in [
        &["postgres://u:hunter2@h/d"][..],
        &["run", "postgres://u:hunter2@h/d"],
        &["run", "hunter2"],
        &["run", "-hunter2"],
        &["run", "--typo=hunter2"],
        &["run", "--database-urll=postgres://u:hunter2@h/d"],
        &["run", "--database-urll", "postgres://u:hunter2@h/d"],
        &["run", "--database-password", "half", "hunter2"],
        &["status", "--json=hunter2"],
        &["hunter2"],
    ] {
        let error = parse(arguments, &[URL]).unwrap_err();
        let (shown, debugged) = (told(error), parse(arguments, &[URL]).unwrap_err());
        assert!(!shown.contains("hunter2"), "{arguments:?}: {shown}");
        assert!(!debugged.to_string().contains("hunter2"));
    }
    let text = refused(&["--probe-url", "http://u:hunter2@h:{port}?hunter2"], &[]);
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_flag_or_command_that_is_nearly_right_is_still_named() {
    let text = told(parse(&["run", "--probe-timeot", "5s"], &[URL]).unwrap_err());
    assert!(
        text.contains("--probe-timeot") && text.contains("--probe-timeout"),
        "{text}"
    );
    let text = told(parse(&["statsu"], &[URL]).unwrap_err());
    assert!(
        text.contains("'statsu'") && text.contains("'status'"),
        "{text}"
    );
    let text = told(parse(&["run", "--probe-timeout"], &[URL]).unwrap_err());
    assert!(text.contains("--probe-timeout <DURATION>"), "{text}");
}

#[test]
fn debug_output_of_everything_holds_no_secret() {
    let environment = [
        URL,
        (
            "AUTH_RECONCILER_LISTEN_URL",
            "postgres://ear:hunter2@direct/wweb",
        ),
        ("DATABASE_PASSWORD", "hunter2"),
    ];
    let text = format!("{:?}", parse(&["run"], &environment).unwrap());
    assert!(text.contains("postgres://manager@db:5433/wweb"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[cfg(unix)]
#[test]
fn an_environment_that_is_not_text_is_named_without_its_value() {
    use std::os::unix::ffi::OsStringExt;
    let environment =
        |name: &str| (name == "DATABASE_URL").then(|| OsString::from_vec(vec![0xff, b'h']));
    let arguments = ["auth-reconciler", "migrate"].map(OsString::from);
    let text = told(Settings::parse(arguments, &environment).unwrap_err());
    assert_eq!(
        text,
        "setting --database-url (DATABASE_URL) is not valid UTF-8"
    );
}
