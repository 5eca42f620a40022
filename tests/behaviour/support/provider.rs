//! A real OpenID provider, run by node from what `scripts/servers.sh provider` keeps, and a browser that signs people in at it.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use mayfly::sandbox::Locations;
use reqwest::{
    Client, Url,
    header::{COOKIE, LOCATION, SET_COOKIE},
    redirect::Policy,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// Steps a browser takes at most until it is sent back, or shown something without a form.
const STEPS: usize = 24;

/// The provider. It ends with the process that started it, at the latest.
pub(crate) struct OpenIdProvider {
    pub(crate) issuer: String,
    child: Child,
}

impl Drop for OpenIdProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a provider whose ID tokens say all there is to say, or, `thin`, as little as they may; `None`: there is no node, or no
/// provider to run by it.
#[expect(clippy::print_stderr, reason = "a test that did not run says so, under --nocapture")]
pub(crate) async fn openid_provider(thin: bool) -> Option<OpenIdProvider> {
    match tokio::task::spawn_blocking(move || start(thin)).await.unwrap() {
        Ok(provider) => Some(provider),
        Err(why) => {
            eprintln!("not run: {why}; scripts/servers.sh provider gets the OpenID provider of the tests");
            None
        }
    }
}

fn start(thin: bool) -> Result<OpenIdProvider, String> {
    let package: serde_json::Value =
        serde_json::from_str(include_str!("../../provider/package.json")).unwrap();
    let version = package["dependencies"]["oidc-provider"].as_str().unwrap();
    let cache = Locations::from_environment().cache.ok_or("there is no cache directory")?;
    let directory = cache.join(format!("oidc-provider-{version}"));
    if !directory.join("node_modules").is_dir() {
        return Err(format!("{} is not there", directory.display()));
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/provider/provider.mjs");
    let mut command = Command::new("node");
    command.arg(script).arg(directory).arg(if thin { "thin" } else { "whole" });
    // It ends when its standard input does.
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|error| format!("node cannot be run: {error}"))?;
    let mut issuer = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut issuer).unwrap();
    assert!(issuer.starts_with("http://127.0.0.1:"), "the provider says {issuer:?}");
    Ok(OpenIdProvider { issuer: issuer.trim().to_owned(), child })
}

/// What somebody does when a provider asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Person<'a> {
    /// Signs in under a name.
    Named(&'a str),
    /// Says no.
    Unwilling,
}

/// A browser: it keeps cookies, follows redirections and fills in forms.
pub(crate) struct Browser {
    client: Client,
    /// By name and path.
    cookies: BTreeMap<(String, String), String>,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let client = Client::builder().tls_backend_preconfigured(tls).redirect(Policy::none()).no_proxy();
        Self { client: client.build().unwrap(), cookies: BTreeMap::new() }
    }

    /// Opens an address and goes on until it is sent to another server; returns that address, which it has not opened.
    pub(crate) async fn sign_in(&mut self, url: &str, person: Person<'_>) -> String {
        self.go(url, person, "").await.unwrap_or_else(|page| panic!("the browser was shown {page}"))
    }

    /// Opens an address, types a code there, and goes on until there is no form any more; returns what is shown then.
    pub(crate) async fn type_code(&mut self, url: &str, code: &str, person: Person<'_>) -> String {
        self.go(url, person, code).await.unwrap_err()
    }

    /// What is at an address, as text.
    pub(crate) async fn get(&self, url: &str) -> (u16, String) {
        let reply = self.client.get(url).send().await.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    }

    async fn go(&mut self, url: &str, person: Person<'_>, code: &str) -> Result<String, String> {
        let (home, mut url) = (Url::parse(url).unwrap(), Url::parse(url).unwrap());
        let mut form: Option<String> = None;
        for _ in 0..STEPS {
            let request = match form.take() {
                None => self.client.get(url.clone()),
                Some(form) => self
                    .client
                    .post(url.clone())
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(form),
            };
            let reply = request.header(COOKIE, self.cookies_for(url.path())).send().await.unwrap();
            for cookie in reply.headers().get_all(SET_COOKIE) {
                self.keep(cookie.to_str().unwrap(), url.path());
            }
            if let Some(location) = reply.headers().get(LOCATION) {
                url = url.join(location.to_str().unwrap()).unwrap();
                if url.origin() != home.origin() {
                    return Ok(url.into());
                }
                continue;
            }
            let page = reply.text().await.unwrap();
            let Some(action) = attribute(&page, "action") else { return Err(page) };
            url = url.join(&action).unwrap();
            form = Some(filled(&page, person, code));
        }
        panic!("the browser is sent round in circles");
    }

    fn cookies_for(&self, path: &str) -> String {
        let fitting =
            self.cookies.iter().filter(|((_, of), value)| path.starts_with(of.as_str()) && !value.is_empty());
        let pairs = fitting.map(|((name, _), value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn keep(&mut self, cookie: &str, path: &str) {
        let mut parts = cookie.split(';').map(str::trim);
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let of = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.eq_ignore_ascii_case("path").then(|| value.to_owned())
        });
        self.cookies.insert((name.to_owned(), of.unwrap_or_else(|| path.to_owned())), value.to_owned());
    }
}

/// The first value of an attribute in a page.
fn attribute(page: &str, name: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("{name}=\""))?;
    Some(rest.split('"').next()?.replace("&amp;", "&"))
}

/// A form as somebody fills it in: hidden fields as they are, the code, the name.
fn filled(page: &str, person: Person<'_>, code: &str) -> String {
    let mut fields = Url::parse("http://form.invalid/").unwrap();
    let inputs = page.split("<input").skip(1).map(|input| input.split('>').next().unwrap_or_default());
    for input in inputs {
        let Some(name) = attribute(input, "name") else { continue };
        let value = match (&*name, person) {
            ("login", Person::Named(who)) => who.to_owned(),
            ("login", Person::Unwilling) => {
                fields.query_pairs_mut().append_pair("deny", "yes");
                continue;
            }
            ("user_code", _) if attribute(input, "value").is_none() => code.to_owned(),
            _ => attribute(input, "value").unwrap_or_default(),
        };
        fields.query_pairs_mut().append_pair(&name, &value);
    }
    fields.query().unwrap_or_default().to_owned()
}
