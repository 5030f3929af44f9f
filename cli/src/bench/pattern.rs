//! The part of regular expressions that choosing workloads by name takes.
//!
//! Letters, `.`, `x*`, `^`, `$`, `\` before a letter that would mean something else, and `|`
//! between whole patterns. A pattern without `^` matches anywhere in the name.

use std::str::FromStr;

/// Longer patterns are refused; matching backtracks.
const PATTERN_BYTES_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    branches: Vec<Branch>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Branch {
    at_start: bool,
    at_end: bool,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// None is any letter.
    letter: Option<char>,
    repeated: bool,
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("the pattern is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let mut branches = vec![Branch::default()];
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            let branch = branches.last_mut().expect("there is always one");
            match letter {
                '|' => branches.push(Branch::default()),
                '^' if branch.parts.is_empty() => branch.at_start = true,
                '$' if letters.peek().is_none_or(|&next| next == '|') => branch.at_end = true,
                '*' => match branch.parts.last_mut() {
                    Some(part) if !part.repeated => part.repeated = true,
                    _ => return Err("there is nothing before a '*'; write '\\*' for the letter".to_owned()),
                },
                '.' => branch.parts.push(Part { letter: None, repeated: false }),
                '\\' => match letters.next() {
                    Some(letter) => branch.parts.push(Part { letter: Some(letter), repeated: false }),
                    None => return Err("the pattern ends with a '\\'".to_owned()),
                },
                '(' | ')' | '[' | ']' | '{' | '}' | '+' | '?' => {
                    return Err(format!(
                        "{letter:?} is not supported; use letters . * ^ $ | and \\{letter} for the letter"
                    ));
                }
                _ => branch.parts.push(Part { letter: Some(letter), repeated: false }),
            }
        }
        Ok(Self { branches })
    }
}

impl Pattern {
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        self.branches.iter().any(|branch| {
            let starts = if branch.at_start { 0 } else { name.len() };
            (0..=starts).any(|start| matches_here(&branch.parts, &name[start..], branch.at_end))
        })
    }
}

fn matches_here(parts: &[Part], name: &[char], at_end: bool) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return !at_end || name.is_empty();
    };
    let fits = |letter: &char| part.letter.is_none_or(|wanted| wanted == *letter);
    if !part.repeated {
        return name.first().is_some_and(fits) && matches_here(rest, &name[1..], at_end);
    }
    let run = name.iter().take_while(|letter| fits(letter)).count();
    (0..=run).any(|taken| matches_here(rest, &name[taken..], at_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_choose_names() {
        let name = "Pull Mixed 20% 1MB, 70% 10MB, 10% 100MB";
        for pattern in ["Mixed", "^Pull", "100MB$", "^Pull.*10MB", "x|Mixed", "", "^P.ll Mixed .*MB$", "20%", "z*Pull"]
        {
            assert!(pattern.parse::<Pattern>().expect(pattern).matches(name), "{pattern}");
        }
        for pattern in ["mixed", "^Mixed", "Pull$", "^Pull 10MB", "q|z", "P\\.ll", "^Push|^Get"] {
            assert!(!pattern.parse::<Pattern>().expect(pattern).matches(name), "{pattern}");
        }
    }

    #[test]
    fn what_is_not_supported_is_said() {
        for pattern in ["a+", "(a|b)", "[ab]", "*", "a**", "\\"] {
            assert!(pattern.parse::<Pattern>().is_err(), "{pattern}");
        }
        assert!("a".repeat(PATTERN_BYTES_MAX + 1).parse::<Pattern>().is_err());
    }
}
