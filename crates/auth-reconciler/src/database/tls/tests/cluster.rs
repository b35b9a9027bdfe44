//! Two small servers for all tests of this module, one with TLS and one without.
//!
//! Each runs under a shell that waits for the end of its standard input, of which this process holds the other end: so
//! a running server is stopped and its files are removed however the tests end, killed ones included. (Killed before
//! the server runs, they leave its files.)

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

pub(super) const PASSWORD: &str = "hunter2-secret";

const SUPERVISE: &str = r#"trap '' INT
"$1/postgres" -D "$2/data" >"$2/log" 2>&1 &
read -r _
kill -QUIT $!
wait
rm -rf "$2""#;

const HBA: &str = "
local all all trust
host all anyone 127.0.0.1/32 scram-sha-256
hostssl all tls_only 127.0.0.1/32 scram-sha-256
hostnossl all plain_only 127.0.0.1/32 scram-sha-256
hostssl all with_certificate 127.0.0.1/32 cert
";

const CONFIGURATION: &str = "
listen_addresses = '127.0.0.1'
fsync = off
max_connections = 50
shared_buffers = '1MB'
password_encryption = 'scram-sha-256'
";

const TLS_CONFIGURATION: &str = "
ssl = on
ssl_cert_file = '../server.pem'
ssl_key_file = '../server.key'
ssl_ca_file = '../ca.pem'
";

pub(super) struct Cluster {
    pub(super) port: u16,
    /// The directory of the server's socket.
    pub(super) socket: PathBuf,
    /// The authority that signed the server's certificate.
    pub(super) ca: PathBuf,
    /// One that did not.
    pub(super) other_ca: PathBuf,
    /// Both.
    pub(super) bundle: PathBuf,
    /// Certificate and key of a client that the server trusts.
    pub(super) client: (PathBuf, PathBuf),
    /// The same from the other authority.
    pub(super) other_client: (PathBuf, PathBuf),
    _supervisor: Child,
}

impl Cluster {
    pub(super) fn with_tls() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| Self::start("on", TLS_CONFIGURATION))
    }

    pub(super) fn without_tls() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| Self::start("off", ""))
    }

    fn start(name: &str, configuration: &str) -> Self {
        let owner = Owner::find();
        let directory =
            std::env::temp_dir().join(format!("auth-reconciler-tls-{name}-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        owner.give(&directory);
        certificates(&directory, &owner);
        let binaries = binaries();
        owner.run(
            Command::new(binaries.join("initdb"))
                .args([
                    "--no-sync",
                    "--no-locale",
                    "-E",
                    "UTF8",
                    "-A",
                    "trust",
                    "-U",
                    "postgres",
                    "-D",
                ])
                .arg(directory.join("data")),
            &directory,
            "",
        );
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let directory_line = format!(
            "port = {port}\nunix_socket_directories = '{}'\n",
            directory.display()
        );
        let all = format!("{CONFIGURATION}{directory_line}{configuration}");
        fs::write(directory.join("data/postgresql.auto.conf"), all).unwrap();
        fs::write(directory.join("data/pg_hba.conf"), HBA).unwrap();
        let roles: String = ["anyone", "tls_only", "plain_only", "with_certificate"]
            .iter()
            .map(|role| format!("create role {role} login password '{PASSWORD}';\n"))
            .collect();
        owner.run(
            Command::new(binaries.join("postgres"))
                .args(["--single", "-D"])
                .arg(directory.join("data"))
                .arg("postgres"),
            &directory,
            &format!(
                "{roles}create database closed;\nrevoke connect on database closed from public;\n"
            ),
        );
        let mut shell = Command::new("sh");
        shell
            .args(["-c", SUPERVISE, "sh"])
            .arg(&binaries)
            .arg(&directory);
        let supervisor = owner.own(&mut shell, &directory).spawn().unwrap();
        wait_until_ready(&directory);
        let file = |name: &str| directory.join(name);
        Self {
            port,
            ca: file("ca.pem"),
            other_ca: file("other-ca.pem"),
            bundle: file("bundle.pem"),
            client: (file("client.pem"), file("client.key")),
            other_client: (file("other-client.pem"), file("other-client.key")),
            socket: directory,
            _supervisor: supervisor,
        }
    }
}

fn wait_until_ready(directory: &Path) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let state = fs::read_to_string(directory.join("data/postmaster.pid")).unwrap_or_default();
        if state
            .lines()
            .nth(7)
            .is_some_and(|line| line.trim() == "ready")
        {
            return;
        }
        if Instant::now() > until {
            panic!(
                "the server did not start:\n{}",
                fs::read_to_string(directory.join("log")).unwrap_or_default()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The newest server on this machine.
fn binaries() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is needed under /usr/lib/postgresql")
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            path.join("bin/initdb")
                .exists()
                .then(|| (version, path.join("bin")))
        })
        .collect();
    found.sort();
    found
        .pop()
        .expect("a PostgreSQL server is needed under /usr/lib/postgresql")
        .1
}

/// Who runs the server: root may not.
struct Owner {
    ids: Option<(u32, u32)>,
}

impl Owner {
    fn find() -> Self {
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            return Self { ids: None };
        }
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let user = users
            .lines()
            .find(|line| line.starts_with("postgres:"))
            .expect("user postgres is needed");
        let mut ids = user.split(':').skip(2).map(|id| id.parse().unwrap());
        Self {
            ids: Some((ids.next().unwrap(), ids.next().unwrap())),
        }
    }

    fn give(&self, path: &Path) {
        if let Some((user, group)) = self.ids {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }

    fn own<'a>(&self, command: &'a mut Command, directory: &Path) -> &'a mut Command {
        if let Some((user, group)) = self.ids {
            command.uid(user).gid(group);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("LC_ALL", "C");
        command
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
    }

    fn run(&self, command: &mut Command, directory: &Path, input: &str) {
        let mut child = self
            .own(command, directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Two authorities with a client each; the first has signed the server's certificate.
fn certificates(directory: &Path, owner: &Owner) {
    let write = |name: String, text: String| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        owner.give(&path);
    };
    let mut bundle = String::new();
    for (prefix, authority_name) in [("other-", "another authority"), ("", "the authority")] {
        let key = KeyPair::generate().unwrap();
        let mut parameters = named(authority_name, &[]);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = parameters.self_signed(&key).unwrap();
        let issuer = Issuer::new(parameters, key);
        for (file, common_name, names) in [
            ("server", "127.0.0.1", &["localhost"][..]),
            ("client", "with_certificate", &[]),
        ] {
            let key = KeyPair::generate().unwrap();
            let certificate = named(common_name, names).signed_by(&key, &issuer).unwrap();
            write(format!("{prefix}{file}.pem"), certificate.pem());
            write(format!("{prefix}{file}.key"), key.serialize_pem());
        }
        bundle.push_str(&authority.pem());
        write(format!("{prefix}ca.pem"), authority.pem());
    }
    write("bundle.pem".to_owned(), bundle);
}

fn named(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters
        .distinguished_name
        .push(DnType::CommonName, common_name);
    parameters
}
