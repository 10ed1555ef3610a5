//! The files that a document names, and those that a module imports. A browser learns of them from these texts.

use std::path::Path;

/// The paths of the style sheets and scripts that a document names, in their order.
pub fn files_of(document: &str) -> Vec<String> {
    let mut files = Vec::new();
    for (attribute, is_file) in [("href=\"", is_style as fn(&str) -> bool), ("src=\"", is_script)] {
        for part in document.split(attribute).skip(1) {
            let value = part.split('"').next().unwrap_or_default();
            if is_file(value) && !value.contains("://") {
                files.push(format!("/{}", value.trim_start_matches('/')));
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

/// The paths of the modules that a module imports from its own directory.
pub fn imports_of(path: &str, module: &str) -> Vec<String> {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let imported = module.split("from './").skip(1).chain(module.split("import './").skip(1));
    imported
        .filter_map(|part| part.split_once('\'').map(|(file, _)| format!("{directory}/{file}")))
        .filter(|path| is_script(path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_document_and_the_imports_of_a_module_are_found() {
        let document = r##"<link rel="icon" href="data:,"><link rel="stylesheet" href="page/page.css">
            <a href="#">All</a><img src="https://example.com/a.js"><script type="module" src="page/page.js"></script>"##;
        assert_eq!(files_of(document), ["/page/page.css", "/page/page.js"]);
        let module = "import { load } from './api.js';\nimport './dom.js';\nimport { x } from 'https://example.com/x.js';";
        assert_eq!(imports_of("/page/page.js", module), ["/page/api.js", "/page/dom.js"]);
    }
}
