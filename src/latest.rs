//! A small cache of the most recently used items.

/// Number of items in the cache.
const KEPT: usize = 4;

/// A cache of the most recently used items, for items that are slow to make.
#[derive(Debug)]
pub(crate) struct Latest<T> {
    /// The items in order of use, the most recent last.
    kept: Vec<T>,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { kept: Vec::new() }
    }
}

impl<T> Latest<T> {
    /// Returns the item for which `is_it` is true, or else the result of `make`. If the cache is full, the least
    /// recently used item is dropped before `make` is called.
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

    /// Drops all items.
    pub(crate) fn forget(&mut self) {
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Latest};

    /// Returns whether this number was not in the cache and had to be made.
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
        // An item whose making fails is not stored.
        let failed = latest.find_or_make(|_| false, || Err("no room"));
        assert_eq!(failed, Err("no room"));
        assert_eq!(latest.kept.len(), KEPT - 1);
        latest.forget();
        assert!(is_made(&mut latest, 1));
    }
}
