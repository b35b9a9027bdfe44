//! TLS to the database: what each `sslmode` promises.
//!
//! | mode | encrypted | authority checked | name checked |
//! | --- | --- | --- | --- |
//! | `disable` | no | | |
//! | `prefer` | if the server can | no | no |
//! | `require`, `no-verify` | yes | no | no |
//! | `verify-ca` | yes | yes | no |
//! | `verify-full` | yes | yes | yes |
//!
//! In every encrypted mode the server proves that it has the key of the certificate that it shows, so SCRAM with
//! channel binding ends a connection through somebody in the middle even where nothing else is checked.
//!
//! Two differences from libpq, both from the library for certificates: a name is looked for among the certificate's
//! alternative names only, never in its common name, and certificates before version 3 are not read. A server's
//! self-signed certificate, named as the authority itself, is accepted as libpq does.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use tokio_postgres::Socket;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls_improved::MakeRustlsConnect;

mod verifier;

use verifier::Verifier;

/// Stands in where a name is needed and not looked at.
const NO_NAME: &str = "name.invalid";

/// The modes of `sslmode`, libpq's and node-postgres' `no-verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// The session is not encrypted.
    Disable,
    /// If the server can.
    Prefer,
    /// Always, with anybody; libpq checks the authority if one is named.
    Require,
    /// Always, with anybody, even if an authority is named.
    NoVerify,
    /// Always, with a server whose certificate the authority signed.
    VerifyCa,
    /// Always, with the very server.
    VerifyFull,
}

/// Why TLS cannot be set up; most of it concerns files on this machine.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("cannot read the file `{}` that {names}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What names it.
        names: String,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// A file without the expected section.
    #[error("the file `{}` that {names} holds no {section} in PEM form", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What names it.
        names: String,
        /// What was expected.
        section: &'static str,
    },
    /// A file with a broken section.
    #[error("the file `{}` that {names} is not valid PEM", path.display())]
    BrokenPem {
        /// The file.
        path: PathBuf,
        /// What names it.
        names: String,
        /// What is not valid in it.
        source: pem::Error,
    },
    /// An authority's certificate that is none.
    #[error("a certificate in the file `{}` that {names} cannot be used", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What names it.
        names: String,
        /// Why it cannot be used.
        source: rustls::Error,
    },
    /// Nothing to check against; the settings refuse that earlier.
    #[error("nothing can be checked without an authority's certificate")]
    NoAuthority,
    /// A client certificate that does not go with its key, or is none.
    #[error("sslcert `{}` and sslkey `{}` cannot be used together", certificate.display(), key.display())]
    Client {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why they cannot be used.
        source: rustls::Error,
    },
    /// The library refuses its own defaults.
    #[error("cannot set up TLS")]
    Library(#[source] rustls::Error),
}

const CERTIFICATE: &str = "sslcert names";
const KEY: &str = "sslkey names";

/// This client's own certificate and key.
#[derive(Clone)]
pub(crate) struct ClientCertificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// What is needed to set TLS up.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) mode: TlsMode,
    pub(crate) ca: Option<PathBuf>,
    /// The setting that may have named the authority instead of the URL, for errors.
    pub(crate) ca_setting: &'static str,
    pub(crate) client: Option<ClientCertificate>,
    /// Without asking the server first (`sslnegotiation=direct`).
    pub(crate) direct: bool,
}

/// TLS' part in a connect, for [`tokio_postgres::Config::connect`] and for pools.
#[derive(Clone)]
pub struct Connector {
    inner: MakeRustlsConnect,
    checks_name: bool,
}

impl TlsMode {
    /// What `sslmode` takes, for errors.
    pub(crate) const NAMES: &str =
        "give disable, allow, prefer, require, no-verify, verify-ca or verify-full";
    /// What [`TlsMode::from_setting`] takes.
    pub const SETTING: &str =
        "give true, false, disable, allow, prefer, require, no-verify, verify-ca or verify-full";

    /// A value of `sslmode`.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name.trim() {
            "disable" => Some(Self::Disable),
            // `allow` differs from `prefer` in what is tried first; the end is the same but where both would do.
            "allow" | "prefer" => Some(Self::Prefer),
            "require" => Some(Self::Require),
            "no-verify" => Some(Self::NoVerify),
            "verify-ca" => Some(Self::VerifyCa),
            "verify-full" => Some(Self::VerifyFull),
            _ => None,
        }
    }

    /// A value of `ssl`, or of a setting beside the URL: a mode, or yes and no.
    #[must_use]
    pub fn from_setting(value: &str) -> Option<Self> {
        let value = value.trim().to_ascii_lowercase();
        match value.as_str() {
            "true" | "1" | "yes" | "on" => Some(Self::Require),
            "false" | "0" | "no" | "off" => Some(Self::Disable),
            mode => Self::from_name(mode),
        }
    }
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::NoVerify => "no-verify",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        })
    }
}

impl Tls {
    pub(crate) fn connector(&self) -> Result<Connector, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(self.verifier(&provider)?);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Library)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(ClientCertificate { certificate, key }) => builder
                .with_client_auth_cert(certificates(certificate, CERTIFICATE)?, private_key(key)?)
                .map_err(|source| TlsError::Client {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    source,
                })?,
        };
        if self.direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        let checks_name = self.mode == TlsMode::VerifyFull;
        Ok(Connector {
            inner: MakeRustlsConnect::new(config),
            checks_name,
        })
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Verifier, TlsError> {
        let checks_name = match self.mode {
            TlsMode::Disable | TlsMode::Prefer | TlsMode::Require | TlsMode::NoVerify => {
                return Ok(Verifier::anybody(provider));
            }
            TlsMode::VerifyCa => false,
            TlsMode::VerifyFull => true,
        };
        let path = self.ca.as_deref().ok_or(TlsError::NoAuthority)?;
        let names = format!("sslrootcert or {} names", self.ca_setting);
        Verifier::signed_by(certificates(path, &names)?, checks_name, provider).map_err(|source| {
            TlsError::Authority {
                path: path.to_owned(),
                names,
                source,
            }
        })
    }
}

/// Leaves a name that TLS cannot express (none at all on a Unix socket) out where it is not checked anyway.
impl MakeTlsConnect<Socket> for Connector {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        let nameless = !self.checks_name && ServerName::try_from(host).is_err();
        let host = if nameless { NO_NAME } else { host };
        MakeTlsConnect::<Socket>::make_tls_connect(&mut self.inner, host)
    }
}

fn read(path: &Path, names: &str) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        names: names.to_owned(),
        source,
    })
}

fn certificates(path: &Path, names: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path, names)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(TlsError::NotPem {
            path: path.to_owned(),
            names: names.to_owned(),
            section: "certificate",
        }),
        Ok(certificates) => Ok(certificates),
        Err(source) => Err(TlsError::BrokenPem {
            path: path.to_owned(),
            names: names.to_owned(),
            source,
        }),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let section = "unencrypted private key";
    match PrivateKeyDer::from_pem_slice(&read(path, KEY)?) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(TlsError::NotPem {
            path: path.to_owned(),
            names: KEY.to_owned(),
            section,
        }),
        Err(source) => Err(TlsError::BrokenPem {
            path: path.to_owned(),
            names: KEY.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
