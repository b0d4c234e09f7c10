//! Thousands of small changes to valid headers and indexes: what is accepted is sound.

mod common;

use common::{Random, accepted_file, accepted_index};
use quantscope::checkpoint::header::{self, HeaderEntry, LENGTH_BYTES};
use quantscope::checkpoint::index;
use safetensors::Dtype;

/// Rounds of each test.
const ROUNDS: usize = 20_000;

/// Pieces that mean something to a parser.
const PIECES: [&[u8]; 20] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"0",
    b"-1",
    b"1e9",
    b"null",
    b" ",
    b"18446744073709551615",
    b"4294967296",
    b"F4",
    b"\"__metadata__\"",
    b"\"shape\"",
    b"\xFF",
    b"../",
];

/// Changes bytes in one to three places.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(12)).min(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            3 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            4 if at < bytes.len() => bytes[at] = b'0' + random.below(10) as u8,
            _ => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
        }
    }
}

/// A file that is valid: header and data.
fn valid_file(random: &mut Random) -> Vec<u8> {
    let types = [Dtype::F4, Dtype::U8, Dtype::BF16, Dtype::F32, Dtype::I64];
    let mut end = 0;
    let tensors: Vec<HeaderEntry> = (0..random.below(5))
        .map(|i| {
            let dtype = types[random.below(types.len())];
            let shape: Vec<u64> =
                (0..random.below(3)).map(|_| 2 * random.below(4) as u64).collect();
            // A scalar of half a byte is no tensor.
            let shape = if shape.is_empty() && dtype == Dtype::F4 { vec![2] } else { shape };
            let begin = end;
            end += shape.iter().product::<u64>() * dtype.bitsize() as u64 / 8;
            HeaderEntry { name: format!("t{i}.weight"), dtype, shape, begin, end }
        })
        .collect();
    let mut file = header::encode(&tensors, &header::Metadata::new());
    file.resize(file.len() + end as usize, 0);
    file
}

#[test]
fn headers_that_are_accepted_are_sound() {
    let mut random = Random(1);
    let (mut accepted_as_is, mut accepted_changed) = (0, 0);
    for _ in 0..ROUNDS {
        let mut file = valid_file(&mut random);
        accepted_as_is += usize::from(accepted_file(&file).is_some());
        // The length follows the header half of the time, so that most changes reach the parser.
        let length = header::header_bytes(&file, file.len() as u64).unwrap();
        let data_start = (LENGTH_BYTES + length) as usize;
        let mut head = file[8..data_start].to_vec();
        mutate(&mut head, &mut random);
        let length = if random.below(2) == 0 { head.len() } else { data_start - 8 };
        file.splice(..data_start, (length as u64).to_le_bytes().into_iter().chain(head));
        accepted_changed += usize::from(accepted_file(&file).is_some());
    }
    assert_eq!(accepted_as_is, ROUNDS);
    assert!((ROUNDS / 50..ROUNDS / 2).contains(&accepted_changed), "{accepted_changed}");
}

#[test]
fn odd_headers_that_are_accepted_are_sound() {
    let a = r#""a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}"#;
    let extra = a.replace("}", r#","more":1}"#);
    let twice = a.replace("}", r#","shape":[1]}"#);
    let array = r#""a":["F32",[],[0,4]]"#;
    for (body, ok) in [
        (format!("{{{a}}}"), true),
        (format!("{{ {extra} }} \n\t"), true),
        (format!("{{{twice}}}"), false),
        (format!("{{{a}}}{{}}"), false),
        (format!("{{{array}}}"), true),
        (format!("{{{},{a}}}", a.replace("\"a\"", "\"\"").replace("0,4", "4,4")), false),
        (format!(r#"{{"__metadata__":{{}},{a}}}"#), true),
        (format!(r#"{{"__metadata__":{{"a":1}},{a}}}"#), false),
        (format!(r#"{{"__metadata__":{{}},"__metadata__":{{}},{a}}}"#), false),
        (format!(r#"{{{a},"\u0061":{{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}}}"#), false),
        (a.to_owned(), false),
        (format!("\u{FEFF}{{{a}}}"), false),
        (format!(" {{{a}}}"), false),
    ] {
        let mut file = (body.len() as u64).to_le_bytes().to_vec();
        file.extend(body.as_bytes());
        file.extend([0; 4]);
        assert_eq!(accepted_file(&file).is_some(), ok, "{body}");
    }
}

#[test]
fn indexes_that_are_accepted_stay_below_their_folder() {
    let mut random = Random(2);
    let mut accepted = 0;
    for _ in 0..ROUNDS {
        let tensors = (0..random.below(5))
            .map(|i| (format!("t{i}"), format!("sub/model-{}.safetensors", random.below(3))));
        let map: index::WeightMap = tensors.collect();
        let mut json = index::encode(&map, 12).into_bytes();
        assert_eq!(index::parse(&json), Ok(map));
        mutate(&mut json, &mut random);
        accepted += usize::from(accepted_index(&json).is_some());
    }
    assert!((ROUNDS / 50..ROUNDS).contains(&accepted), "{accepted}");
}
