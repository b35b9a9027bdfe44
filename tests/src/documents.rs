//! The documents: what they point to is there, and so are the tests that they name.

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::{fs, io};

    /// One for each reader; the first one leads to all others.
    const DOCUMENTS: [&str; 5] = [
        "README.md",
        "crates/README.md",
        "sql/README.md",
        "tests/README.md",
        "deploy/README.md",
    ];

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// Lines that are no part of a block of code.
    fn prose(text: &str) -> impl Iterator<Item = &str> {
        let mut in_block = false;
        text.lines().filter(move |line| {
            let is_fence = line.trim_start().starts_with("```");
            in_block ^= is_fence;
            !in_block && !is_fence
        })
    }

    /// The anchors that a renderer makes of the headings.
    fn anchors(text: &str) -> BTreeSet<String> {
        prose(text)
            .filter_map(|line| line.strip_prefix('#'))
            .map(|heading| {
                let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
                let heading: String = heading
                    .trim_matches(['#', ' '])
                    .chars()
                    .filter(kept)
                    .collect();
                heading.to_lowercase().replace(' ', "-")
            })
            .collect()
    }

    /// What a document points to, without addresses of other places.
    fn links(text: &str) -> Vec<String> {
        prose(text)
            .flat_map(|line| line.split("](").skip(1))
            .filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target.to_owned())
            .filter(|target| !target.contains("://"))
            .collect()
    }

    /// What is wrong with a link; nothing if it leads somewhere.
    fn broken(document: &Path, link: &str) -> io::Result<Option<String>> {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = match file {
            "" => document.to_owned(),
            file => document.parent().unwrap_or(Path::new("")).join(file),
        };
        if !target.exists() {
            return Ok(Some(format!("{}: {link} is not there", document.display())));
        }
        let found = anchor.is_empty() || anchors(&fs::read_to_string(target)?).contains(anchor);
        Ok((!found).then(|| format!("{}: {link} has no such heading", document.display())))
    }

    #[test]
    fn every_link_of_the_documents_leads_somewhere() -> io::Result<()> {
        let mut wrong = Vec::new();
        let mut seen = 0;
        for document in DOCUMENTS {
            let document = root().join(document);
            for link in links(&fs::read_to_string(&document)?) {
                seen += 1;
                wrong.extend(broken(&document, &link)?);
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(seen > 40, "only {seen} links were found");
        Ok(())
    }

    /// Where the tests are that a word before a name, or none, stands for.
    const SUITES: [(&str, &str); 6] = [
        ("", "tests/tests/integration"),
        ("core: ", "crates/auth-reconciler-core/src"),
        (
            "simulation: ",
            "crates/auth-reconciler-core/tests/simulation",
        ),
        (
            "model: ",
            "crates/auth-reconciler-core/tests/protocol_model",
        ),
        ("daemon: ", "crates/auth-reconciler/src"),
        ("harness: ", "tests/src"),
    ];

    /// The names of all tests below a folder, with their modules.
    fn tests_below(folder: &Path, module: &str, found: &mut BTreeSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let inner = match &*name {
                "main" | "lib" => module.to_owned(),
                name => format!("{module}{name}::"),
            };
            if path.is_dir() {
                tests_below(&path, &inner, found)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)?;
                let functions = text
                    .split("#[test]\n")
                    .flat_map(|part| part.split("#[tokio::test]\n"))
                    .skip(1)
                    .filter_map(|part| part.split_once("fn ")?.1.split_once('('));
                found.extend(functions.map(|(function, _)| format!("{inner}{function}")));
            }
        }
        Ok(())
    }

    /// The names that stand in the last column of the guarantees and in the brackets at the ends of the limits.
    fn named_tests(text: &str) -> Vec<String> {
        let brackets = text
            .split("(tests: ")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(names, _)| names);
        let columns = text
            .lines()
            .filter(|line| line.starts_with("| "))
            .filter_map(|line| line.trim_end_matches([' ', '|']).rsplit_once("| "))
            .map(|(_, names)| names);
        brackets
            .chain(columns)
            .flat_map(|names| names.split('`').skip(1).step_by(2))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn every_test_that_is_named_is_there() -> io::Result<()> {
        let mut there = BTreeSet::new();
        for (word, folder) in SUITES {
            tests_below(&root().join(folder), word, &mut there)?;
        }
        let document = fs::read_to_string(root().join("tests/README.md"))?;
        let guarantees = document.find("## Guarantees").unwrap_or_default();
        let costs = document.find("## What it costs").unwrap_or(document.len());
        let named = named_tests(&document[guarantees..costs]);
        let missing: Vec<_> = named
            .iter()
            .filter(|name| {
                let module = format!("{name}::");
                !there.contains(*name) && !there.iter().any(|test| test.starts_with(&module))
            })
            .collect();
        assert!(missing.is_empty(), "no such tests: {missing:#?}");
        assert!(named.len() > 100, "only {} names were found", named.len());
        Ok(())
    }

    #[test]
    fn no_document_holds_what_a_merge_left_behind() -> io::Result<()> {
        for document in DOCUMENTS {
            let text = fs::read_to_string(root().join(document))?;
            let left = text.lines().find(|line| {
                ["<<<<<<<", "=======", ">>>>>>>"]
                    .iter()
                    .any(|mark| line.starts_with(mark))
            });
            assert_eq!(left, None, "{document}");
        }
        Ok(())
    }

    #[test]
    fn the_first_page_is_short_and_leads_to_every_other() -> io::Result<()> {
        let first = fs::read_to_string(root().join(DOCUMENTS[0]))?;
        assert!(
            first.lines().count() <= 170,
            "{} lines",
            first.lines().count()
        );
        let targets = links(&first);
        for other in &DOCUMENTS[1..] {
            assert!(targets.iter().any(|target| target == other), "{other}");
        }
        Ok(())
    }
}
