//! Opening the browser of this machine.

use std::process::{Command, Stdio};

/// Opens an address in whatever `BROWSER` names, else in the desktop's browser. Whether there was something to open it with.
pub(super) fn open(url: &str, variable: impl Fn(&str) -> Option<String>) -> bool {
    let Some(words) = command(url, variable) else { return false };
    let Some((program, arguments)) = words.split_first() else { return false };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().is_ok()
}

/// The words of the command; no shell sees them.
fn command(url: &str, variable: impl Fn(&str) -> Option<String>) -> Option<Vec<String>> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    if let Some(browser) = set("BROWSER") {
        // Several are separated by colons; an address may have its own place.
        let first = browser.split(':').next().unwrap_or_default().trim();
        let mut words: Vec<String> = first.split_whitespace().map(|word| word.replace("%s", url)).collect();
        if !first.contains("%s") && !words.is_empty() {
            words.push(url.to_owned());
        }
        return (!words.is_empty()).then_some(words);
    }
    let program = if cfg!(target_os = "macos") {
        "open"
    } else if set("DISPLAY").or_else(|| set("WAYLAND_DISPLAY")).is_some() {
        "xdg-open"
    } else {
        return None;
    };
    Some(vec![program.to_owned(), url.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Option<Vec<String>> {
        command("https://id.example/?a=b", |asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn the_browser_that_is_named_gets_the_address_in_its_place() {
        assert_eq!(with("BROWSER", "firefox").unwrap(), ["firefox", "https://id.example/?a=b"]);
        assert_eq!(with("BROWSER", "w3m -o x=%s:lynx").unwrap(), ["w3m", "-o", "x=https://id.example/?a=b"]);
        assert_eq!(with("BROWSER", ":firefox"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn without_a_desktop_nothing_is_opened() {
        assert_eq!(with("HOME", "/root"), None);
        assert_eq!(with("BROWSER", ""), None);
        assert_eq!(with("DISPLAY", ":0").unwrap()[0], "xdg-open");
        assert_eq!(with("WAYLAND_DISPLAY", "wayland-0").unwrap()[0], "xdg-open");
    }
}
