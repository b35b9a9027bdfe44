//! Whom the verifier takes for the server, in cases that are easier made without one.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error};

use crate::tls::verifier::Verifier;

/// 2030-01-01, between the dates of the certificates here.
const NOW: u64 = 1_893_456_000;

/// A certificate that signed itself, as an authority or as a mere server.
fn self_signed(is_ca: IsCa) -> CertificateDer<'static> {
    let mut parameters = CertificateParams::new(vec!["db.example".to_owned()]).unwrap();
    parameters.is_ca = is_ca;
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters.not_after = date_time_ymd(2040, 1, 1);
    parameters
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap()
        .der()
        .clone()
}

fn verdict(
    root: &CertificateDer<'static>,
    shown: &CertificateDer<'_>,
    name: Option<&str>,
    at: u64,
) -> Result<(), Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::signed_by(vec![root.clone()], name.is_some(), &provider)?;
    let name = ServerName::try_from(name.unwrap_or("elsewhere.example")).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(at));
    verifier
        .verify_server_cert(shown, &[], &name, &[], now)
        .map(|_| ())
}

#[test]
fn a_server_may_show_the_very_certificate_that_is_named_as_authority() {
    for is_ca in [
        IsCa::Ca(BasicConstraints::Unconstrained),
        IsCa::ExplicitNoCa,
        IsCa::NoCa,
    ] {
        let own = self_signed(is_ca);
        assert_eq!(verdict(&own, &own, None, NOW), Ok(()));
        assert_eq!(verdict(&own, &own, Some("db.example"), NOW), Ok(()));
        let error = verdict(&own, &own, Some("other.example"), NOW).unwrap_err();
        assert!(
            matches!(
                error,
                Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
            ),
            "{error}"
        );
        let error = verdict(&own, &own, None, NOW * 2).unwrap_err();
        assert!(
            matches!(
                error,
                Error::InvalidCertificate(CertificateError::ExpiredContext { .. })
            ),
            "{error}"
        );
        assert!(verdict(&own, &self_signed(is_ca), None, NOW).is_err());
    }
}

#[test]
fn anybody_is_anybody() {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let name = ServerName::try_from("elsewhere.example").unwrap();
    let shown = self_signed(IsCa::NoCa);
    let verdict =
        Verifier::anybody(&provider).verify_server_cert(&shown, &[], &name, &[], UnixTime::now());
    assert!(verdict.is_ok());
}
