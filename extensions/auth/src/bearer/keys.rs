//! The public keys that tokens are checked with.
//!
//! In: a file of the operator or the answer of an issuer, as PEM (RFC 7468: certificates, public keys) or as a set of
//! keys in JSON (RFC 7517). Out: keys, each of which knows the algorithms that it is for. A token only chooses among
//! those: no key of one kind is ever taken for one of another (RFC 8725 section 3.1).

use aws_lc_rs::signature::{self, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm};
use serde_json::{Map, Value};
use x509_parser::{
    pem::Pem,
    prelude::{FromDer, X509Certificate},
    public_key::{PublicKey, RSAPublicKey},
    x509::SubjectPublicKeyInfo,
};

use super::jws::{Algorithm, Hash, Jws, decode};

/// The most keys of one issuer: each may have to be tried for a token that names none.
const KEYS_MAX: usize = 64;

/// The shortest and longest RSA keys in bits (RFC 7518 section 3.3; beyond it checking gets expensive).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The first byte of a point of a curve that is written out (SEC 1 section 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("neither PEM nor JSON: {0}")]
    Syntax(String),
    #[error("key {at}: {reason}")]
    Key { at: usize, reason: String },
    #[error("it has no key that tokens can be checked with: expected RSA, P-256, P-384, P-521 or Ed25519")]
    None,
    #[error("it has {0} keys, expected at most {KEYS_MAX}")]
    TooMany(usize),
}

/// The keys of one issuer.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The one algorithm, if its issuer said so; otherwise all that are for this kind of key.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    Point { curve: Curve, point: Vec<u8> },
    Ed25519(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

impl Keys {
    /// Reads certificates and public keys in PEM form, or keys in JSON. Errors: there is none, or one that is named
    /// in PEM cannot be used.
    pub fn parse(text: &[u8]) -> Result<Self, KeysError> {
        match text.trim_ascii_start().first() {
            Some(b'{') => Keys::of_json(text),
            _ => Keys::of_pem(text),
        }
    }

    /// A set of keys, or one key alone. Keys of other kinds and for other uses are passed over, as RFC 7517 section 5
    /// says: an issuer may have them.
    pub fn of_json(text: &[u8]) -> Result<Self, KeysError> {
        let document: Map<String, Value> =
            serde_json::from_slice(text).map_err(|error| KeysError::Syntax(error.to_string()))?;
        let keys = match document.get("keys") {
            Some(Value::Array(keys)) => keys.iter().filter_map(Value::as_object).filter_map(of_jwk).collect(),
            Some(_) => return Err(KeysError::Syntax("\"keys\" is not a list".to_owned())),
            None => of_jwk(&document).into_iter().collect(),
        };
        Keys::some(keys)
    }

    fn of_pem(text: &[u8]) -> Result<Self, KeysError> {
        let mut keys = Vec::new();
        for (at, entry) in Pem::iter_from_buffer(text).enumerate() {
            let pem = entry.map_err(|error| KeysError::Syntax(error.to_string()))?;
            let material = of_block(&pem).map_err(|reason| KeysError::Key { at: at + 1, reason })?;
            keys.push(Key { id: None, algorithm: None, material });
        }
        Keys::some(keys)
    }

    fn some(keys: Vec<Key>) -> Result<Self, KeysError> {
        match keys.len() {
            0 => Err(KeysError::None),
            1..=KEYS_MAX => Ok(Keys(keys)),
            many => Err(KeysError::TooMany(many)),
        }
    }

    /// The claims of a token that one of the keys has signed. Whether they hold, now and here, is another question.
    pub fn claims_of(&self, token: &str) -> Option<Map<String, Value>> {
        let parts = Jws::parse(token)?;
        self.have_signed(&parts).then_some(parts.claims)
    }

    /// Whether there is a key that `token` may be signed with; an issuer that has changed its keys has a new one.
    pub fn has_one_for(&self, token: &Jws<'_>) -> bool {
        self.candidates(token).next().is_some()
    }

    /// Whether one of the keys signed `token`.
    pub fn have_signed(&self, token: &Jws<'_>) -> bool {
        self.candidates(token).any(|key| key.material.has_signed(token))
    }

    /// A key with a name is for the tokens that name it, or none.
    fn candidates<'a>(&'a self, token: &'a Jws<'_>) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(|key| {
            let is_named = match (&key.id, &token.key_id) {
                (Some(id), Some(wanted)) => id == wanted,
                _ => true,
            };
            is_named && key.algorithm.is_none_or(|only| only == token.algorithm) && key.material.is_for(token.algorithm)
        })
    }
}

impl Material {
    /// RFC 7518 section 3.4: each curve has its hash.
    fn is_for(&self, algorithm: Algorithm) -> bool {
        match (self, algorithm) {
            (Material::Rsa(_), Algorithm::Rs(_) | Algorithm::Ps(_)) | (Material::Ed25519(_), Algorithm::EdDsa) => true,
            (Material::Point { curve, .. }, Algorithm::Es(hash)) => curve.hash() == hash,
            _ => false,
        }
    }

    fn has_signed(&self, token: &Jws<'_>) -> bool {
        let plain = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            signature::UnparsedPublicKey::new(algorithm, key).verify(token.signed, &token.signature).is_ok()
        };
        match (self, token.algorithm) {
            (Material::Rsa(key), Algorithm::Rs(hash)) => {
                key.verify(pkcs1(hash), token.signed, &token.signature).is_ok()
            }
            (Material::Rsa(key), Algorithm::Ps(hash)) => key.verify(pss(hash), token.signed, &token.signature).is_ok(),
            (Material::Point { curve, point }, Algorithm::Es(hash)) if curve.hash() == hash => {
                plain(curve.algorithm(), point)
            }
            (Material::Ed25519(key), Algorithm::EdDsa) => plain(&signature::ED25519, key),
            _ => false,
        }
    }
}

impl Curve {
    const ALL: [Curve; 3] = [Curve::P256, Curve::P384, Curve::P521];

    fn hash(self) -> Hash {
        match self {
            Curve::P256 => Hash::Sha256,
            Curve::P384 => Hash::Sha384,
            Curve::P521 => Hash::Sha512,
        }
    }

    /// Its name in JSON (RFC 7518 section 6.2.1.1) and its identifier in certificates (RFC 5480 section 2.1.1.1).
    fn names(self) -> [&'static str; 2] {
        match self {
            Curve::P256 => ["P-256", "1.2.840.10045.3.1.7"],
            Curve::P384 => ["P-384", "1.3.132.0.34"],
            Curve::P521 => ["P-521", "1.3.132.0.35"],
        }
    }

    fn named(name: &str) -> Option<Self> {
        Curve::ALL.into_iter().find(|curve| curve.names().contains(&name))
    }

    /// Of one coordinate.
    fn bytes(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }

    fn algorithm(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Curve::P521 => &signature::ECDSA_P521_SHA512_FIXED,
        }
    }
}

fn pkcs1(hash: Hash) -> &'static RsaParameters {
    match hash {
        Hash::Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Hash::Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Hash::Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
    }
}

fn pss(hash: Hash) -> &'static RsaParameters {
    match hash {
        Hash::Sha256 => &signature::RSA_PSS_2048_8192_SHA256,
        Hash::Sha384 => &signature::RSA_PSS_2048_8192_SHA384,
        Hash::Sha512 => &signature::RSA_PSS_2048_8192_SHA512,
    }
}

/// A key in JSON (RFC 7518 section 6, RFC 8037 section 2), if it is one for signatures that can be checked.
fn of_jwk(key: &Map<String, Value>) -> Option<Key> {
    let text = |name: &str| key.get(name).map(|value| value.as_str().unwrap_or_default());
    let bytes = |name: &str| decode(text(name)?);
    if text("use").is_some_and(|of| of != "sig") {
        return None;
    }
    let algorithm = match text("alg") {
        Some(name) => Some(Algorithm::named(name)?),
        None => None,
    };
    let material = match text("kty")? {
        "RSA" => rsa(&bytes("n")?, &bytes("e")?).ok()?,
        "EC" => {
            let (curve, x, y) = (Curve::named(text("crv")?)?, bytes("x")?, bytes("y")?);
            point(curve, [&[UNCOMPRESSED], &*x, &*y].concat()).ok()?
        }
        "OKP" if text("crv") == Some("Ed25519") => ed25519(&bytes("x")?).ok()?,
        _ => return None,
    };
    Some(Key { id: text("kid").map(str::to_owned), algorithm, material })
}

/// The key of a certificate, or one that stands by itself. Errors: what it is instead.
fn of_block(pem: &Pem) -> Result<Material, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("{} cannot be read: {error}", pem.label);
    match pem.label.as_str() {
        "CERTIFICATE" => {
            let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|error| unreadable(&error))?;
            of_info(certificate.public_key())
        }
        "PUBLIC KEY" => {
            let (_, info) = SubjectPublicKeyInfo::from_der(&pem.contents).map_err(|error| unreadable(&error))?;
            of_info(&info)
        }
        "RSA PUBLIC KEY" => {
            let (_, key) = RSAPublicKey::from_der(&pem.contents).map_err(|error| unreadable(&error))?;
            rsa(key.modulus, key.exponent)
        }
        label if label.contains("PRIVATE") => {
            Err("it is a private key, which belongs to whoever issues the tokens alone; give the public one".to_owned())
        }
        label => Err(format!("it is a {label:?}, expected a certificate or a public key")),
    }
}

fn of_info(info: &SubjectPublicKeyInfo<'_>) -> Result<Material, String> {
    let named = |name: &str| info.algorithm.algorithm.to_id_string() == name;
    match info.parsed().map_err(|error| error.to_string())? {
        PublicKey::RSA(key) => rsa(key.modulus, key.exponent),
        PublicKey::EC(key) => {
            let parameters = info.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
            let curve = parameters.and_then(|curve| Curve::named(&curve.to_id_string()));
            point(curve.ok_or("its curve is none of P-256, P-384 and P-521")?, key.data().to_vec())
        }
        PublicKey::Unknown(key) if named("1.3.101.112") => ed25519(key),
        _ => Err("it is no RSA, P-256, P-384, P-521 or Ed25519 key".to_owned()),
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Material, String> {
    let strip = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    let (n, e) = (strip(modulus), strip(exponent));
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    match RSA_BITS.contains(&bits) && !e.is_empty() {
        true => Ok(Material::Rsa(RsaPublicKeyComponents { n, e })),
        false => Err(format!("an RSA key of {bits} bits, expected {} to {}", RSA_BITS.start(), RSA_BITS.end())),
    }
}

fn point(curve: Curve, point: Vec<u8>) -> Result<Material, String> {
    let is_whole = point.len() == 1 + 2 * curve.bytes() && point.first() == Some(&UNCOMPRESSED);
    let is_on_curve = || signature::ParsedPublicKey::new(curve.algorithm(), &point).is_ok();
    match is_whole && is_on_curve() {
        true => Ok(Material::Point { curve, point }),
        false => Err(format!("it is no point of {} that is written out", curve.names()[0])),
    }
}

fn ed25519(key: &[u8]) -> Result<Material, String> {
    match key.len() {
        32 => Ok(Material::Ed25519(key.to_vec())),
        bytes => Err(format!("an Ed25519 key of {bytes} bytes, expected 32")),
    }
}
