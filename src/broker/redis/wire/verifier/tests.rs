use std::fs;
use std::path::PathBuf;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;

use super::*;
use crate::tests::redis_rig::{KEY, openssl, private_dir};

const CA: &str = "basicConstraints=critical,CA:TRUE";
const LIMITED: &str = "basicConstraints=CA:TRUE\nnameConstraints=critical,permitted;DNS:redis.example";
const NAMED: &str = "subjectAltName=DNS:localhost";
/// Of version 3, and no other name than the common one.
const NAMELESS: &str = "extendedKeyUsage=serverAuth";
/// No extensions.
const VERSION_1: &str = "";

/// A folder of certificates, each with its key.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    /// With `ca`, its own issuer, and `localhost` by it.
    fn with(ca: &str, server: &str) -> Folder {
        let folder = Folder(private_dir());
        folder.add("ca", "ca", ca, 2);
        folder.add("localhost", "ca", server, 2);
        folder
    }

    /// Adds one with this common name.
    fn add(&self, name: &str, issuer: &str, extensions: &str, days: i32) {
        let own = format!("-signkey {name}.key");
        let by =
            if issuer == name { own } else { format!("-CA {issuer}.pem -CAkey {issuer}.key -set_serial 7") };
        fs::write(self.0.join("extensions"), extensions).unwrap();
        let extfile = if extensions.is_empty() { "" } else { " -extfile extensions" };
        openssl(&self.0, &format!("req {KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        openssl(&self.0, &format!("x509 -req -in {name}.csr {by} -days {days} -out {name}.pem{extfile}"));
    }

    fn read(&self, names: &[&str]) -> Vec<CertificateDer<'static>> {
        let path = |name: &&str| self.0.join(format!("{name}.pem"));
        names.iter().map(|name| CertificateDer::from_pem_file(path(name)).unwrap()).collect()
    }

    /// The verdict on a server of this name that shows `localhost` and those below its authority.
    fn ask(&self, authorities: Authorities, name: &str, between: &[&str]) -> Result<(), String> {
        let verifier = CertificateVerifier::new(Some(authorities.into()), &ring::default_provider());
        let (name, now) = (ServerName::try_from(name).unwrap(), UnixTime::now());
        let shown = &self.read(&["localhost"])[0];
        let verdict = verifier.verify_server_cert(shown, &self.read(between), &name, &[], now);
        verdict.map(drop).map_err(|error| error.to_string())
    }

    /// The same where the app names `ca`.
    fn verify(&self) -> Result<(), String> {
        self.ask(Authorities::named(self.read(&["ca"])).unwrap(), "localhost", &[])
    }
}

fn expect_refusal(verdict: Result<(), String>, cause: &str, what: &str) {
    let error = verdict.err().unwrap_or_default();
    assert!(error.contains(cause), "{what}: {error}");
}

#[test]
fn who_may_sign_others_is_who_openssl_says() {
    for ca in
        [CA, VERSION_1, "keyUsage=keyCertSign", "basicConstraints=CA:TRUE\nkeyUsage=keyCertSign,cRLSign"]
    {
        for server in [NAMED, NAMELESS, VERSION_1] {
            assert_eq!(Folder::with(ca, server).verify(), Ok(()), "{ca} {server}");
        }
    }
    for ca in [
        "basicConstraints=CA:FALSE",
        "basicConstraints=CA:FALSE\nkeyUsage=keyCertSign",
        "basicConstraints=CA:TRUE\nkeyUsage=digitalSignature",
        "basicConstraints=CA:TRUE\nextendedKeyUsage=clientAuth",
        "keyUsage=digitalSignature",
        NAMED,
    ] {
        for server in [NAMED, VERSION_1] {
            expect_refusal(Folder::with(ca, server).verify(), "UnknownIssuer", ca);
        }
    }
}

#[test]
fn an_authority_of_version_1_is_its_own_issuer() {
    for server in [NAMED, VERSION_1] {
        let folder = Folder(private_dir());
        folder.add("root", "root", CA, 2);
        folder.add("ca", "root", VERSION_1, 2);
        folder.add("localhost", "ca", server, 2);
        expect_refusal(folder.verify(), "UnknownIssuer", server);
    }
}

#[test]
fn an_authority_vouches_while_it_holds() {
    for (server, cause) in [(NAMED, "Expired"), (VERSION_1, "UnknownIssuer")] {
        let folder = Folder(private_dir());
        folder.add("ca", "ca", CA, -1);
        folder.add("localhost", "ca", server, 2);
        expect_refusal(folder.verify(), cause, server);
    }
}

#[test]
fn a_common_name_is_none_where_an_authority_constrains_names() {
    for (server, cause) in
        [(NAMED, "NameConstraintViolation"), (NAMELESS, "not valid for name"), (VERSION_1, "UnknownIssuer")]
    {
        expect_refusal(Folder::with(LIMITED, server).verify(), cause, server);
    }
    let folder = Folder(private_dir());
    folder.add("root", "root", CA, 2);
    folder.add("between", "root", LIMITED, 2);
    folder.add("localhost", "between", NAMELESS, 2);
    let ask = |authorities: &[&str]| {
        folder.ask(Authorities::named(folder.read(authorities)).unwrap(), "localhost", &["between"])
    };
    expect_refusal(ask(&["root"]), "not valid for name", "one between");
    folder.add("between", "root", CA, 2);
    folder.add("localhost", "between", NAMELESS, 2);
    folder.add("other", "other", LIMITED, 2);
    assert_eq!(ask(&["root", "other"]), Ok(()), "those of others are not meant");
}

#[test]
fn certificates_of_version_1_are_signed_by_whom_the_app_names() {
    let folder = Folder::with(CA, VERSION_1);
    let others = |names: &[&str]| Authorities::of_parsable(folder.read(names));
    expect_refusal(folder.ask(others(&["ca"]), "localhost", &[]), "UnknownIssuer", "by another's");
    folder.add("localhost", "localhost", VERSION_1, 2);
    assert_eq!(folder.ask(others(&["localhost"]), "localhost", &[]), Ok(()), "named itself");
    folder.add("localhost", "ca", NAMELESS, 2);
    assert_eq!(folder.ask(others(&["ca"]), "localhost", &[]), Ok(()), "of version 3");
}

#[test]
fn a_server_that_may_sign_others_is_signed_by_whom_the_app_names() {
    let folder = Folder::with(CA, &format!("{CA}\n{NAMED}"));
    assert_eq!(folder.verify(), Ok(()));
    let others = Authorities::of_parsable(folder.read(&["ca"]));
    expect_refusal(folder.ask(others, "localhost", &[]), "UnknownIssuer", "by another's");
    expect_refusal(
        folder.ask(Authorities::named(folder.read(&["ca"])).unwrap(), "redis.example", &[]),
        "not valid for name",
        "another name",
    );
    let limited = Folder::with(LIMITED, &format!("{CA}\n{NAMED}"));
    expect_refusal(limited.verify(), "UnknownIssuer", "an authority with constraints");
}

#[test]
fn a_key_is_for_what_its_certificate_says() {
    for usage in ["keyCertSign", "cRLSign"] {
        let folder = Folder::with(CA, &format!("keyUsage={usage}\n{NAMED}"));
        expect_refusal(folder.verify(), "InvalidPurpose", usage);
    }
    assert_eq!(Folder::with(CA, &format!("keyUsage=digitalSignature\n{NAMED}")).verify(), Ok(()));
}

#[test]
fn the_error_is_that_of_webpki_where_the_certificate_cannot_be_read_again() {
    let folder = Folder::with(CA, NAMED);
    let mut der = folder.read(&["localhost"])[0].to_vec();
    let subject = b"\x06\x03\x55\x04\x03\x0c\x09localhost";
    let name = der.windows(subject.len()).position(|bytes| bytes == subject).unwrap();
    // A list where the standard has a set, which webpki does not look at.
    der[name - 4] = 0x30;
    let shown = CertificateDer::from(der);
    assert_eq!(Certificate::read(&shown).unwrap_err(), CertificateError::BadEncoding);
    let verifier = CertificateVerifier::new(Some(Arc::default()), &ring::default_provider());
    let name = ServerName::try_from("localhost").unwrap();
    let verdict = verifier.verify_server_cert(&shown, &[], &name, &[], UnixTime::now());
    assert_eq!(verdict.unwrap_err(), CertificateError::UnknownIssuer.into());
}
