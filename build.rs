//! A release without the web client in it is refused; a debug build reads the client from `web/dist` when asked.

fn main() {
    // A path that is missing would make every debug build start over.
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("PROFILE").is_ok_and(|profile| profile != "release") {
        return;
    }
    println!("cargo::rerun-if-changed=web/dist");
    if !std::path::Path::new("web/dist/index.html").exists() {
        println!("cargo::error=web/dist is missing: run `make web`");
    }
}
