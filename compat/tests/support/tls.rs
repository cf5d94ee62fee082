//! Certificates made for the test.

use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// An authority that signs certificates for `localhost`.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// The one that most tests use.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Authority> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    fn issue(&self, usage: ExtendedKeyUsagePurpose) -> Chain {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a DNS name");
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate");
        Arc::new(roots)
    }

    /// A server that asks for no certificate.
    pub(crate) fn server(&self) -> ServerConfig {
        let (chain, key) = self.issue(ExtendedKeyUsagePurpose::ServerAuth);
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a key that fits")
    }

    /// A server that wants a certificate of `clients`.
    pub(crate) fn strict_server(&self, clients: &Self) -> ServerConfig {
        let (chain, key) = self.issue(ExtendedKeyUsagePurpose::ServerAuth);
        let verifier = WebPkiClientVerifier::builder(clients.roots()).build().expect("a verifier");
        ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .expect("a key that fits")
    }

    /// A client that trusts this authority and has no certificate.
    pub(crate) fn client(&self) -> ClientConfig {
        ClientConfig::builder().with_root_certificates(self.roots()).with_no_client_auth()
    }

    /// A client that trusts this authority, with a certificate of `signer`.
    pub(crate) fn client_signed_by(&self, signer: &Self) -> ClientConfig {
        let (chain, key) = signer.issue(ExtendedKeyUsagePurpose::ClientAuth);
        ClientConfig::builder()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(chain, key)
            .expect("a key that fits")
    }
}
