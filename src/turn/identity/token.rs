//! Open WebUI's signed users: JSON Web Tokens (RFC 7519) by HS256 (RFC 7518, 3.2) and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// Seconds by which clocks may differ.
const LEEWAY: i64 = 60;

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    /// What Open WebUI's own sessions have in its place.
    id: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
}

/// The user whom `token` names; `None` unless it is signed with `secret` and in force `now`, in
/// Unix seconds.
pub fn verify(token: &str, secret: &SecretString, now: i64) -> Option<String> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    // The token chooses no algorithm: it says the one that there is, or it is refused.
    let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
    if header.alg != "HS256" {
        return None;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    hmac::verify(&key, signed.as_bytes(), &decode(signature)?).ok()?;
    let claims: Claims = serde_json::from_slice(&decode(claims)?).ok()?;
    // Exact for every time until the year 285,000.
    let (earliest, latest) = ((now - LEEWAY) as f64, (now + LEEWAY) as f64);
    let has_expired = claims.exp.is_some_and(|exp| exp <= earliest);
    let is_early = claims.nbf.is_some_and(|nbf| nbf > latest);
    let user = claims.sub.or(claims.id)?;
    (!has_expired && !is_early).then_some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn token(header: &str, claims: &str, secret: &str) -> String {
        let encode = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
        let signed = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(claims.as_bytes())
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = encode(hmac::sign(&key, signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }

    fn user(header: &str, claims: &str) -> Option<String> {
        let secret = SecretString::from("s3cret");
        verify(&token(header, claims, "s3cret"), &secret, NOW)
    }

    #[test]
    fn a_token_in_force_names_its_user() {
        const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
        for (claims, named) in [
            (r#"{"sub":"ann","iat":1,"exp":1800000300}"#, Some("ann")),
            (r#"{"id":"ann"}"#, Some("ann")),
            (r#"{"sub":"ann","exp":1800000000.5}"#, Some("ann")),
            (r#"{"sub":"ann","exp":1799999970}"#, Some("ann")),
            (r#"{"sub":"ann","exp":1799999940}"#, None),
            (r#"{"sub":"ann","nbf":1800000061}"#, None),
            (r#"{"sub":"ann","exp":"never"}"#, None),
            (r#"{"sub":7}"#, None),
            (r#"{"email":"a@b"}"#, None),
            ("[]", None),
        ] {
            assert_eq!(user(HEADER, claims).as_deref(), named, "{claims}");
        }
    }

    #[test]
    fn a_token_of_another_hand_names_nobody() {
        let claims = r#"{"sub":"ann"}"#;
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"hs256"}"#,
            r#"{"alg":"RS256"}"#,
            "{}",
        ] {
            assert_eq!(user(header, claims), None, "{header}");
        }
        let secret = SecretString::from("s3cret");
        let other = token(r#"{"alg":"HS256"}"#, claims, "another");
        let own = token(r#"{"alg":"HS256"}"#, claims, "s3cret");
        let (signed, _) = own.rsplit_once('.').expect("three parts");
        let changed = own.replacen("J", "K", 1);
        let unsigned = format!("{signed}.");
        for token in [
            &other,
            signed,
            &unsigned,
            &changed,
            "",
            "..",
            "a.b.c",
            "\u{1F600}",
        ] {
            assert_eq!(verify(token, &secret, NOW), None, "{token}");
        }
        assert_eq!(verify(&own, &secret, NOW).as_deref(), Some("ann"));
    }
}
