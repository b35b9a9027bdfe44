//! The documents: what they point to is there.

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
