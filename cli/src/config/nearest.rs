//! Which known key was probably meant.

/// Longest written key that is compared, in characters; anything longer is no typing error.
const COMPARED_MAX: usize = 128;

/// The candidate with the fewest edits from `written`, upper and lower case being equal. A key
/// whose last part was abbreviated (`storage.root`) counts as one edit away.
pub fn nearest(written: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let written: Vec<char> = written.chars().take(COMPARED_MAX).flat_map(char::to_lowercase).collect();
    candidates.min_by_key(|candidate| {
        let candidate: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
        let section = candidate.iter().rposition(|c| *c == '.').map_or(0, |dot| dot + 1);
        match written.len() > section && candidate.starts_with(&written) {
            true => 1,
            false => edits(&written, &candidate),
        }
    })
}

/// Levenshtein's distance: insertions, deletions and replacements of one character.
fn edits(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        let distance = |a: &str, b: &str| edits(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn finds_typing_errors_abbreviations_and_wrong_sections() {
        let known = ["http", "http.port", "http.address", "storage", "storage.rootDirectory", "log.level"];
        let find = |written: &str| nearest(written, known.map(str::to_owned).into_iter());
        assert_eq!(find("http.prot").as_deref(), Some("http.port"));
        assert_eq!(find("storage.root").as_deref(), Some("storage.rootDirectory"));
        assert_eq!(find("http.rootDirectory").as_deref(), Some("storage.rootDirectory"));
        assert_eq!(find("LOG.LEVLE").as_deref(), Some("log.level"));
        assert_eq!(find("htpt").as_deref(), Some("http"));
    }
}
