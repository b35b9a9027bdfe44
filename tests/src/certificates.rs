//! Certificates for a server with TLS: the right one, one for the wrong host, and an authority that signed neither;
//! and for its clients.
//!
//! Written as PEM files into a private folder; keys belong to the server's user and nobody else may read them, which
//! PostgreSQL insists on.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::postgres::{private_folder, server_owner};

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key, readable by the server's user alone.
    pub key: PathBuf,
}

/// The files; dropping this removes them.
pub struct Certificates {
    folder: PathBuf,
    /// The authority that signed both identities.
    pub authority: PathBuf,
    /// An authority that signed nothing here.
    pub other_authority: PathBuf,
    /// For `localhost` and 127.0.0.1.
    pub server: Identity,
    /// For `elsewhere.example` only: that its common name is 127.0.0.1 does not count.
    pub wrong_host: Identity,
    /// A client's, signed by the same authority.
    pub client: Identity,
    /// A client's, signed by the other one.
    pub stranger: Identity,
}

impl Certificates {
    /// Makes new keys and certificates.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn create() -> Result<Self> {
        let owner = server_owner()?;
        let folder = private_folder(owner)?;
        let mut certificates = Self {
            authority: folder.join("authority.pem"),
            other_authority: folder.join("other-authority.pem"),
            server: identity(&folder, "server"),
            wrong_host: identity(&folder, "wrong-host"),
            client: identity(&folder, "client"),
            stranger: identity(&folder, "stranger"),
            folder,
        };
        certificates.write(owner)?;
        Ok(certificates)
    }

    /// A folder with `ca.pem`, `cert.pem` and `key.pem`, as Docker's clients want them.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn docker_folder(&self, authority: &Path, client: &Identity) -> Result<PathBuf> {
        let folder = self.folder.join(uuid::Uuid::new_v4().simple().to_string());
        std::fs::create_dir(&folder)?;
        std::fs::copy(authority, folder.join("ca.pem"))?;
        std::fs::copy(&client.certificate, folder.join("cert.pem"))?;
        std::fs::copy(&client.key, folder.join("key.pem"))?;
        Ok(folder)
    }

    fn write(&mut self, owner: Option<(u32, u32)>) -> Result<()> {
        let (pem, issuer) = authority("the tests' authority")?;
        write(&self.authority, &pem, 0o644, owner)?;
        let (pem, other) = authority("another authority")?;
        write(&self.other_authority, &pem, 0o644, owner)?;
        let named = |name: &'static str| (name, vec![name.to_owned()]);
        sign(&issuer, named("a-client"), &self.client, owner)?;
        sign(&other, named("a-stranger"), &self.stranger, owner)?;
        let hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        sign(&issuer, ("localhost", hosts), &self.server, owner)?;
        let hosts = vec!["elsewhere.example".to_owned()];
        sign(&issuer, ("127.0.0.1", hosts), &self.wrong_host, owner)
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn identity(folder: &Path, name: &str) -> Identity {
    Identity {
        certificate: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    }
}

fn authority(name: &str) -> Result<(String, Issuer<'static, KeyPair>)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((pem, Issuer::new(params, key)))
}

/// Makes an identity with a common name and the names that it is for.
fn sign(
    issuer: &Issuer<'static, KeyPair>,
    (common_name, hosts): (&str, Vec<String>),
    identity: &Identity,
    owner: Option<(u32, u32)>,
) -> Result<()> {
    let mut params = CertificateParams::new(hosts)?;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let key = KeyPair::generate()?;
    write(
        &identity.certificate,
        &params.signed_by(&key, issuer)?.pem(),
        0o644,
        owner,
    )?;
    write(&identity.key, &key.serialize_pem(), 0o600, owner)
}

fn write(path: &Path, text: &str, mode: u32, owner: Option<(u32, u32)>) -> Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group))?;
    }
    Ok(())
}
