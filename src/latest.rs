//! A small cache.

/// Number of things that are kept.
const KEPT: usize = 4;

/// Keeps the most recently used of things that are slow to make.
#[derive(Debug)]
pub(crate) struct Latest<T> {
    /// In order of use, the latest last.
    kept: Vec<T>,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { kept: Vec::new() }
    }
}

impl<T> Latest<T> {
    /// Returns the thing for which `is_it` is true, or else the result of `make`. If there are too many, the least
    /// recently used one is dropped before `make` is called.
    pub(crate) fn find_or_make<E>(
        &mut self,
        is_it: impl FnMut(&T) -> bool,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<&mut T, E> {
        let found = match self.kept.iter().position(is_it) {
            Some(at) => self.kept.remove(at),
            None => {
                if self.kept.len() == KEPT {
                    self.kept.remove(0);
                }
                make()?
            }
        };
        self.kept.push(found);
        let latest = self.kept.len() - 1;
        Ok(&mut self.kept[latest])
    }

    /// Drops everything.
    pub(crate) fn forget(&mut self) {
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Latest};

    /// Whether a number had to be made.
    fn is_made(latest: &mut Latest<usize>, number: usize) -> bool {
        let mut is_made = false;
        let make = || {
            is_made = true;
            Ok::<_, ()>(number)
        };
        let found = latest.find_or_make(|&it| it == number, make);
        assert_eq!(found.copied(), Ok(number));
        is_made
    }

    #[test]
    fn the_latest_are_kept_and_the_others_made_again() {
        let mut latest = Latest::default();
        for expected in [true, false] {
            assert!((0..KEPT).all(|number| is_made(&mut latest, number) == expected));
        }
        // The new number replaces 0, and then 0 replaces 1.
        assert!(is_made(&mut latest, KEPT));
        assert!(is_made(&mut latest, 0));
        assert!(!is_made(&mut latest, 2));
        assert!(is_made(&mut latest, 1));
        // A failed one is not kept.
        let failed = latest.find_or_make(|_| false, || Err("no room"));
        assert_eq!(failed, Err("no room"));
        assert_eq!(latest.kept.len(), KEPT - 1);
        latest.forget();
        assert!(is_made(&mut latest, 1));
    }
}
