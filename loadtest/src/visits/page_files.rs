//! The files that a document names. A browser learns of them from its text.

use std::path::Path;

/// The paths of the style sheets and scripts that a document names, in their order.
pub fn files_of(document: &str) -> Vec<String> {
    let mut files = Vec::new();
    for (attribute, is_file) in [("href=\"", is_style as fn(&str) -> bool), ("src=\"", is_script)] {
        for part in document.split(attribute).skip(1) {
            let value = part.split('"').next().unwrap_or_default();
            if is_file(value) && !value.contains("://") {
                // A document is at most one level below the root.
                files.push(format!("/{}", value.trim_start_matches("../").trim_start_matches('/')));
            }
        }
    }
    files
}

pub fn is_style(path: &str) -> bool {
    has_extension(path, "css")
}

fn is_script(path: &str) -> bool {
    has_extension(path, "js")
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_document_are_found() {
        let document = r##"<link rel="icon" href="data:,"><link rel="stylesheet" href="../assets/page-1.css">
            <a href="#">All</a><img src="https://example.com/a.js"><script type="module" src="assets/page-2.js"></script>"##;
        assert_eq!(files_of(document), ["/assets/page-1.css", "/assets/page-2.js"]);
    }
}
