//! What is said about certificate files that cannot be used.

use std::error::Error;
use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair};

use crate::Database;
use crate::tests::defaults;

/// A directory of its own for each test, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("auth-reconciler-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn told(url: &str) -> String {
    let error = match Database::from_url(url, &defaults()).unwrap().connector() {
        Ok(_) => panic!("{url} can be used"),
        Err(error) => error,
    };
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[test]
fn an_authority_that_cannot_be_read_is_named_with_its_setting() {
    let directory = Directory::new("authority");
    let key = KeyPair::generate().unwrap().serialize_pem();
    let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, text, words) in [
        ("empty.pem", "", "holds no certificate in PEM form"),
        (
            "text.pem",
            "no certificate",
            "holds no certificate in PEM form",
        ),
        ("key.pem", &key, "holds no certificate in PEM form"),
        ("broken.pem", broken, "is not valid PEM"),
        ("garbage.pem", garbage, "cannot be used"),
    ] {
        let path = directory.file(name, text);
        let text = told(&format!(
            "postgres://u@h/d?sslmode=verify-full&sslrootcert={path}"
        ));
        assert!(text.contains(words) && text.contains(&path), "{text}");
        assert!(
            text.contains("sslrootcert") && text.contains("DATABASE_SSL_CA"),
            "{text}"
        );
    }
    let missing = directory.0.join("missing.pem").display().to_string();
    let text = told(&format!(
        "postgres://u@h/d?sslmode=verify-ca&sslrootcert={missing}"
    ));
    assert!(
        text.starts_with("cannot read the file") && text.contains("No such file"),
        "{text}"
    );
}

#[test]
fn a_client_certificate_that_cannot_be_used_is_named() {
    let directory = Directory::new("client");
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let certificate = CertificateParams::default()
        .self_signed(&key)
        .unwrap()
        .pem();
    let certificate = directory.file("client.pem", &certificate);
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (name, text, words) in [
        (
            "encrypted.key",
            encrypted,
            "holds no unencrypted private key in PEM form",
        ),
        (
            "other.key",
            &other.serialize_pem(),
            "cannot be used together",
        ),
    ] {
        let path = directory.file(name, text);
        let text = told(&format!(
            "postgres://u@h/d?sslcert={certificate}&sslkey={path}"
        ));
        assert!(text.contains(words) && text.contains(&path), "{text}");
    }
    let key = directory.file("client.key", &key.serialize_pem());
    let url = format!("postgres://u@h/d?sslcert={certificate}&sslkey={key}");
    assert!(
        Database::from_url(&url, &defaults())
            .unwrap()
            .connector()
            .is_ok()
    );
    let text = told(&format!("postgres://u@h/d?sslcert={key}&sslkey={key}"));
    assert!(
        text.contains("sslcert names holds no certificate"),
        "{text}"
    );
}
