//! Where rows are read from.

use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
};

use super::ROW;

/// How much a parser may read ahead of the row that it is in.
const AHEAD: usize = 16 << 10;

/// So much of a file is looked at to tell how it is written.
const START: u64 = 4 << 10;

/// A file without the mark that spreadsheets begin it with, which ends with an error in a row that is too long.
pub(super) struct Source<R> {
    file: BufReader<io::Chain<io::Cursor<Vec<u8>>, R>>,
    budget: Budget,
}

/// How much may still be read of the row that is being read.
#[derive(Clone)]
pub(super) struct Budget(Rc<Cell<(usize, usize)>>);

impl Budget {
    /// The next row begins, which is this one, counted from 0.
    pub(super) fn row(&mut self, number: usize) {
        self.0.set((number, ROW + AHEAD));
    }
}

pub(super) fn too_long(row: usize) -> String {
    format!("row {} has more than {ROW} bytes", row + 1)
}

impl<R: Read> Source<R> {
    pub(super) fn new(mut file: R) -> io::Result<Self> {
        let mut start = Vec::new();
        file.by_ref().take(START).read_to_end(&mut start)?;
        if start.starts_with("\u{feff}".as_bytes()) {
            start.drain(.."\u{feff}".len());
        }
        let file = BufReader::new(io::Cursor::new(start).chain(file));
        Ok(Self { file, budget: Budget(Rc::new(Cell::new((0, ROW + AHEAD)))) })
    }

    /// The first bytes of it.
    pub(super) fn start(&self) -> &[u8] {
        self.file.get_ref().get_ref().0.get_ref()
    }

    /// What is to be told where a row begins.
    pub(super) fn budget(&self) -> Budget {
        self.budget.clone()
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let (row, left) = self.budget.0.get();
        if left == 0 {
            return Err(io::Error::other(too_long(row)));
        }
        self.file.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        let (row, left) = self.budget.0.get();
        self.budget.0.set((row, left.saturating_sub(amount)));
        self.file.consume(amount);
    }
}
