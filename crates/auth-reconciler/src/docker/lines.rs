//! Counts the lines of a container's output, and those that hold the path of our own request.
//!
//! A line is a frame of the engine's: 8 bytes of header (the stream, three zeros, the length), then the
//! text; where the container has a terminal there are no frames, and lines end as text does: with a line feed or a
//! carriage return, or both. Engines break
//! a line of more than 16 KiB over several frames, of which the last alone ends as text does: each of them
//! counts, with the path if that ends in it. Nothing of the text is kept but how much of the path its end
//! matches, however long it is.

/// How an engine sends output. Engines before 23 do not say; a frame begins with the number of its stream and
/// three zeros, which hardly any text begins with. What turns out not to be framed is read as text from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// In frames with a header each.
    Frames,
    /// As the terminal got it.
    Terminal,
}

/// What a piece of output holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Lines that have ended.
    pub(crate) lines: u32,
    /// Of these, lines that hold the path.
    pub(crate) with_path: u32,
}

/// Counts as the bytes pass.
#[derive(Debug)]
pub(super) struct Lines {
    /// Unknown before the first byte.
    framing: Option<Framing>,
    path: &'static [u8],
    header: [u8; HEADER],
    /// Bytes of the header that are here.
    headed: usize,
    /// Bytes of the frame that are still to come.
    left: usize,
    /// Bytes of the path that the end of the text matches.
    matched: usize,
    found: bool,
    /// The last byte of the frame so far, or of the text.
    last: u8,
}

const HEADER: usize = 8;

/// The highest number of a stream.
const STREAMS: u8 = 3;

impl Lines {
    pub(super) const fn new(path: &'static str) -> Self {
        Self {
            framing: None,
            path: path.as_bytes(),
            header: [0; HEADER],
            headed: 0,
            left: 0,
            matched: 0,
            found: false,
            last: 0,
        }
    }

    /// What has ended with these bytes.
    pub(super) fn count(&mut self, bytes: &[u8]) -> Counted {
        let mut counted = Counted::default();
        let Some(first) = bytes.first() else {
            return counted;
        };
        let framing = *self.framing.get_or_insert(match first {
            0..=STREAMS => Framing::Frames,
            _ => Framing::Terminal,
        });
        match framing {
            Framing::Terminal => self.text(bytes, &mut counted),
            Framing::Frames => self.frames(bytes, &mut counted),
        }
        counted
    }

    fn text(&mut self, bytes: &[u8], counted: &mut Counted) {
        for byte in bytes {
            match *byte {
                // Of a line that a carriage return has ended already.
                b'\n' if self.last == b'\r' => {}
                // What is written over itself, as progress is, would hide the next line behind a path that it held.
                b'\n' | b'\r' => {
                    self.end(counted);
                    self.matched = 0;
                }
                other => self.search(other),
            }
            self.last = *byte;
        }
    }

    fn frames(&mut self, bytes: &[u8], counted: &mut Counted) {
        for (index, byte) in bytes.iter().enumerate() {
            if self.left > 0 {
                self.left -= 1;
                self.last = *byte;
                self.search(*byte);
                if self.left == 0 {
                    self.end(counted);
                    if self.last == b'\n' {
                        self.matched = 0;
                    }
                }
                continue;
            }
            if let Some(place) = self.header.get_mut(self.headed) {
                *place = *byte;
            }
            self.headed += 1;
            if self.headed == HEADER {
                self.headed = 0;
                let [stream, b0, b1, b2, a, b, c, d] = self.header;
                if stream > STREAMS || [b0, b1, b2] != [0; 3] {
                    self.framing = Some(Framing::Terminal);
                    let header = self.header;
                    self.text(&header, counted);
                    self.text(bytes.get(index + 1..).unwrap_or_default(), counted);
                    return;
                }
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
            }
        }
    }

    fn end(&mut self, counted: &mut Counted) {
        counted.lines = counted.lines.saturating_add(1);
        counted.with_path = counted.with_path.saturating_add(u32::from(self.found));
        if self.found {
            self.matched = 0;
        }
        self.found = false;
    }

    /// One more byte: the longest beginning of the path that the text ends with now.
    fn search(&mut self, byte: u8) {
        if self.found {
            return;
        }
        while self.path.get(self.matched) != Some(&byte) {
            let Some(shorter) = self.shorter() else {
                return;
            };
            self.matched = shorter;
        }
        self.matched += 1;
        self.found = self.matched == self.path.len();
    }

    /// The next shorter beginning of the path that the text before this byte ends with.
    fn shorter(&self) -> Option<usize> {
        let matched = self.path.get(..self.matched)?;
        let ends = |length: &usize| {
            self.path
                .get(..*length)
                .is_some_and(|start| matched.ends_with(start))
        };
        (0..self.matched).rev().find(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/api/v1/telegram/status";

    fn frame(text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).expect("short").to_be_bytes();
        [&[1, 0, 0, 0][..], &length, text.as_bytes()].concat()
    }

    /// Counts it in pieces of every size, and whole.
    fn counted(bytes: &[u8]) -> (u32, u32) {
        let sizes = (1..=bytes.len().max(1)).map(|size| {
            let mut lines = Lines::new(PATH);
            bytes.chunks(size).fold((0, 0), |(all, of_path), piece| {
                let counted = lines.count(piece);
                (all + counted.lines, of_path + counted.with_path)
            })
        });
        let all: Vec<_> = sizes.collect();
        let first = all.first().copied().expect("a size");
        assert!(all.iter().all(|other| *other == first), "{all:?}");
        first
    }

    #[test]
    fn a_frame_is_a_line_whatever_its_header_holds() {
        // Ten bytes: a header with a 0x0a in it.
        let ten = frame("123456789\n");
        assert!(ten[..8].contains(&b'\n'));
        assert_eq!(counted(&ten), (1, 0));
        let many = [ten.clone(), frame("x"), frame("without an end"), ten].concat();
        assert_eq!(counted(&many), (4, 0));
    }

    #[test]
    fn a_line_with_the_path_is_told_wherever_it_is_cut() {
        let text = format!("debug: GET {PATH} 200 3 ms\n");
        let all = [
            frame(&text),
            frame("ready\n"),
            frame("GET //api/v1/api/v1/telegram/status\n"),
        ];
        assert_eq!(counted(&all.concat()), (3, 2));
        assert_eq!(counted(&frame("GET /api/v1/telegram/stat\nus")), (1, 0));
    }

    #[test]
    fn the_path_is_not_found_across_lines() {
        let parts = [frame("GET /api/v1/tele\n"), frame("gram/status\n")];
        assert_eq!(counted(&parts.concat()), (2, 0));
        let terminal = b"GET /api/v1/tele\r\ngram/status\r\n";
        assert_eq!(counted(terminal), (2, 0));
    }

    #[test]
    fn on_a_terminal_lines_end_as_text_does() {
        let text = format!("one\r\nGET {PATH}\r\nhalf");
        assert_eq!(counted(text.as_bytes()), (2, 1));
    }

    #[test]
    fn a_carriage_return_alone_ends_a_line_of_a_terminal_too() {
        let text = format!("GET {PATH}\rprogress 10%\rprogress 20%\rready\r\n\nend\r\n");
        assert_eq!(counted(text.as_bytes()), (6, 1));
        let late = format!("progress\rGET {PATH} 200\r");
        assert_eq!(counted(late.as_bytes()), (2, 1));
    }

    #[test]
    fn a_line_that_is_broken_over_frames_is_searched_as_one() {
        let parts = [
            frame(&"x".repeat(100)),
            frame("GET /api/v1/tele"),
            frame("gram/status\n"),
            frame("gram/status\n"),
        ];
        assert_eq!(counted(&parts.concat()), (4, 1));
        // Should an engine leave out the ends of lines, none passes for another.
        let after = [frame("GET /api/v1/telegram/status"), frame("ready")];
        assert_eq!(counted(&after.concat()), (2, 1));
    }

    #[test]
    fn what_only_begins_like_a_frame_is_read_as_text() {
        for begin in ["\u{1}", "\u{0}x", "\u{2}\u{0}\u{0}y"] {
            let text = format!("{begin} one\ntwo\nGET {PATH}\n");
            assert_eq!(counted(text.as_bytes()), (3, 1), "{begin:?}");
        }
    }

    /// A line without an end, in a frame or not, costs what it takes to look at it.
    #[test]
    fn nothing_is_kept_however_long_a_line_is() {
        assert!(size_of::<Lines>() <= 96, "{}", size_of::<Lines>());
        let mut lines = Lines::new(PATH);
        let header = [1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(lines.count(&header), Counted::default());
        let piece = vec![b'x'; 1 << 16];
        for _ in 0..16 {
            assert_eq!(lines.count(&piece), Counted::default());
        }
    }
}
