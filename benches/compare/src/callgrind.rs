//! What callgrind has counted: its file, read.

use std::collections::HashMap;

/// Instructions of one run, in all and by function; those of its callees do not count as a function's own.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Counted {
    pub(crate) total: f64,
    pub(crate) functions: HashMap<String, f64>,
}

impl Counted {
    /// The file is lines of `key=value`, which say where we are, and lines of a place and a cost. The line after `calls=` has the
    /// cost of the callee. A name stands beside its number once, and the number alone after that.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut counted = Self::default();
        let mut names: HashMap<&str, &str> = HashMap::new();
        let (mut function, mut is_call) = ("", false);
        let mut total = None;
        for line in text.lines() {
            if let Some((key, value)) = line.split_once('=') {
                match key {
                    "fn" => function = named(&mut names, value),
                    "cfn" => drop(named(&mut names, value)),
                    "calls" => is_call = true,
                    _ => {}
                }
            } else if line.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '*')) {
                let cost = line.split_whitespace().nth(1).and_then(|cost| cost.parse::<f64>().ok());
                if let (Some(cost), false) = (cost, is_call) {
                    *counted.functions.entry(function.to_owned()).or_default() += cost;
                }
                is_call = false;
            } else if let Some(sum) = line.strip_prefix("totals: ") {
                total = sum.trim().parse().ok();
            }
        }
        counted.total = total?;
        Some(counted)
    }

    /// What the longer run has on top of the shorter one, for each of so many more operations.
    pub(crate) fn beyond(mut self, shorter: &Self, operations: f64) -> Self {
        for (name, cost) in &mut self.functions {
            *cost = (*cost - shorter.functions.get(name).copied().unwrap_or(0.0)) / operations;
        }
        Self { total: (self.total - shorter.total) / operations, functions: self.functions }
    }

    /// The functions that take most, by names that fit in a table.
    pub(crate) fn top(&self, count: usize) -> Vec<(String, f64)> {
        let mut by_short_name: HashMap<String, f64> = HashMap::new();
        for (name, cost) in &self.functions {
            *by_short_name.entry(short(name)).or_default() += cost;
        }
        let mut functions: Vec<_> = by_short_name.into_iter().filter(|(_, cost)| *cost >= 0.5).collect();
        functions.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        functions.truncate(count);
        functions
    }
}

/// `(12) name` or `(12)`
fn named<'a>(names: &mut HashMap<&'a str, &'a str>, value: &'a str) -> &'a str {
    let Some((number, name)) = value.split_once(')') else { return value };
    match name.trim() {
        "" => names.get(number).copied().unwrap_or("?"),
        name => {
            names.insert(number, name);
            name
        }
    }
}

/// Without hashes, arguments of types and the depth of a recursion; the middle of what is still long is left out.
pub(crate) fn short(name: &str) -> String {
    const LONGEST: usize = 90;
    let name = name.split('\'').next().unwrap_or(name);
    let name = match name.rsplit_once("::h") {
        Some((rest, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => rest,
        _ => name,
    };
    let (mut text, mut depth) = (String::new(), 0_usize);
    for (index, c) in name.char_indices() {
        // What stands at the beginning or after `as` says whose function it is: `<T as Trait>::f`.
        let is_argument =
            index > 0 && (name[..index].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
        match c {
            '<' if depth > 0 || is_argument => depth += 1,
            '>' if depth > 0 && !name[..index].ends_with('-') => depth -= 1,
            c if depth == 0 => text.push(c),
            _ => {}
        }
    }
    let text = text.replace("::::", "::");
    let text = text.trim_end_matches("::").to_owned();
    let count = text.chars().count();
    if count <= LONGEST {
        return text;
    }
    let head: String = text.chars().take(LONGEST / 2 - 1).collect();
    let tail: String = text.chars().skip(count - LONGEST / 2).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
version: 1
creator: callgrind-3.19.0
cmd: program
positions: line
events: Ir

ob=(1) /program
fl=(1) main.rs
fn=(1) main
10 5
+1 3
cfn=(2) helper
calls=2 20
* 40
fn=(2)
20 36
fi=(2) other.rs
+4 4

totals: 48
";

    #[test]
    fn costs_are_a_functions_own_and_names_are_remembered() {
        let counted = Counted::parse(FILE).unwrap();
        assert_eq!(counted.total, 48.0);
        assert_eq!(counted.functions["main"], 8.0);
        assert_eq!(counted.functions["helper"], 40.0);
        assert!(Counted::parse("events: Ir\n").is_none());
    }

    #[test]
    fn two_lengths_take_what_is_done_once_off() {
        let run = |total, a, b: f64| Counted {
            total,
            functions: [("a".to_owned(), a), ("b".to_owned(), b)].into_iter().collect(),
        };
        let each = run(300.0, 250.0, 50.0).beyond(&run(200.0, 150.0, 50.0), 10.0);
        assert_eq!(each.total, 10.0);
        assert_eq!(each.top(8), [("a".to_owned(), 10.0)]);
    }

    #[test]
    fn names_are_short_enough_for_a_table() {
        assert_eq!(
            short("core::ptr::drop_in_place<alloc::vec::Vec<u8>>::h0123456789abcdef"),
            "core::ptr::drop_in_place"
        );
        assert_eq!(
            short("<kanal::Receiver<T> as core::ops::Drop>::drop'2"),
            "<kanal::Receiver as core::ops::Drop>::drop"
        );
        assert_eq!(short("a::b::<T>::c"), "a::b::c");
        assert_eq!(short(&"x".repeat(200)).chars().count(), 90);
    }
}
