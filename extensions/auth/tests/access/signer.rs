//! Issuers of these tests: keys, and tokens signed with them by aws-lc, in whatever way a test wants.

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
        EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
    },
};
use serde_json::{Value, json};
use x509_parser::{prelude::FromDer, public_key::RSAPublicKey};

/// A key of an issuer.
pub enum Signer {
    Rsa(RsaKeyPair),
    /// With the name of its curve.
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

impl Signer {
    pub fn rsa() -> Self {
        Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))
    }

    /// `P-256`, `P-384` or `P-521`.
    pub fn ec(curve: &'static str) -> Self {
        let algorithm = match curve {
            "P-256" => &ECDSA_P256_SHA256_FIXED_SIGNING,
            "P-384" => &ECDSA_P384_SHA384_FIXED_SIGNING,
            _ => &ECDSA_P521_SHA512_FIXED_SIGNING,
        };
        Signer::Ec(EcdsaKeyPair::generate(algorithm).expect("a key"), curve)
    }

    pub fn ed() -> Self {
        Signer::Ed(Ed25519KeyPair::generate().expect("a key"))
    }

    /// The algorithms that are for this key.
    pub fn algorithms(&self) -> &'static [&'static str] {
        match self {
            Signer::Rsa(_) => &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
            Signer::Ec(_, "P-256") => &["ES256"],
            Signer::Ec(_, "P-384") => &["ES384"],
            Signer::Ec(..) => &["ES512"],
            Signer::Ed(_) => &["EdDSA"],
        }
    }

    /// The public key, as `openssl pkey -pubout` writes it.
    pub fn pem(&self) -> String {
        pem("PUBLIC KEY", &self.info())
    }

    /// The public key in the form of its own.
    pub fn public(&self) -> Vec<u8> {
        match self {
            Signer::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Signer::Ec(pair, _) => pair.public_key().as_ref().to_vec(),
            Signer::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    fn info(&self) -> Vec<u8> {
        let info = match self {
            Signer::Rsa(pair) => pair.public_key().as_der(),
            Signer::Ec(pair, _) => pair.public_key().as_der(),
            Signer::Ed(pair) => pair.public_key().as_der(),
        };
        info.expect("a key").as_ref().to_vec()
    }

    /// The public key in JSON, with more members.
    pub fn jwk(&self, more: Value) -> Value {
        let public = self.public();
        let mut key = match self {
            Signer::Rsa(_) => {
                let (_, key) = RSAPublicKey::from_der(&public).expect("a key");
                json!({"kty": "RSA", "n": base64url(&key.modulus[1..]), "e": base64url(key.exponent)})
            }
            Signer::Ec(_, curve) => {
                let (x, y) = public[1..].split_at(public.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
            }
            Signer::Ed(_) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(&public)}),
        };
        let more = more.as_object().expect("an object").clone();
        key.as_object_mut().expect("an object").extend(more);
        key
    }

    /// A token with this header; `alg` decides how it is signed, as far as this key can.
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| base64url(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.sign(header["alg"].as_str().unwrap_or_default(), signed.as_bytes());
        format!("{signed}.{}", base64url(&signature))
    }

    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Signer::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).expect("signed");
                signature
            }
            Signer::Ec(pair, _) => pair.sign(&random, message).expect("signed").as_ref().to_vec(),
            Signer::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let text = crate::rig::base64(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub fn base64url(bytes: &[u8]) -> String {
    crate::rig::base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// Seconds since 1970, in so many seconds.
pub fn soon(seconds: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).expect("later");
    i64::try_from(now.as_secs()).expect("not so late") + seconds
}
