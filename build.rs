//! A release without the web client in it is refused; a debug build reads the client from `web/dist` when asked.

fn main() {
    println!("cargo::rerun-if-changed=web/dist");
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if is_release && !std::path::Path::new("web/dist/index.html").exists() {
        println!("cargo::error=web/dist is missing: run `make web`");
    }
}
