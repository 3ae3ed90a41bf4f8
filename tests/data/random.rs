//! Reading a file always returns, with a result or an error, whatever the file contains.

use proptest::prelude::*;

use super::digits::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_bytes_are_an_error(
        file in 0..4usize,
        gzipped: bool,
        contents in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let digits = Digits::with(NAMES[file], &contents);
        prop_assert!(digits.open().is_err());
        for contents in [&contents, &gzip(&contents), &[&[0x1f, 0x8b], &contents[..]].concat()] {
            if gzipped {
                prop_assert!(Digits::with_gz(NAMES[file], contents).open().is_err());
            }
        }
    }

    #[test]
    fn mutated_files_are_read_or_an_error_that_names_a_file(
        file in 0..4usize,
        gzipped: bool,
        mutations in proptest::collection::vec((0..1600usize, any::<u8>()), 0..4),
        cut in proptest::option::of(0..2400usize),
    ) {
        let mut contents = [images(3), labels(3), images(2), labels(2)][file].clone();
        if gzipped {
            contents = gzip(&contents);
        }
        for (at, byte) in mutations {
            let length = contents.len();
            contents[at % length] = byte;
        }
        contents.truncate(cut.unwrap_or(usize::MAX));
        let digits = if gzipped {
Digits::with_gz(NAMES[file], &contents)
} else {
Digits::with(NAMES[file], &contents)
};
        match digits.open() {
            Ok(split) => prop_assert_eq!((split.train.len(), split.test.len()), (3, 2)),
            Err(error) => prop_assert!(error.to_string().contains("-ubyte"), "{}", error),
        }
    }
}
