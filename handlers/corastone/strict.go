package corastone

// maxDepth is how deep JSON may nest. Genuine envelopes and entries stay below
// ten.
const maxDepth = 64

// plain reports whether data, a JSON text, nests at most maxDepth deep and
// holds no character that XML 1.0 lacks, written out or escaped. SNS takes
// XML's characters only (Amazon SNS FAQs), so anything else did not come
// through it. plain does not check the syntax: go-json-experiment does, which
// also refuses duplicate names, bad UTF-8, lone surrogates and trailing data.
func plain(data []byte) bool {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			if depth++; depth > maxDepth {
				return false
			}
		case '}', ']':
			depth--
		case '"':
			n, ok := plainString(data[i+1:])
			if !ok {
				return false
			}
			i += n
		}
	}
	return true
}

// plainString looks through a JSON string from behind its opening quote. It
// returns the length up to and with the closing quote, and whether all of its
// characters are XML's.
func plainString(data []byte) (int, bool) {
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			return i + 1, true
		case c == '\\':
			i++
			if i < len(data) && (data[i] == 'b' || data[i] == 'f' || data[i] == 'u' && !plainEscape(data[i+1:])) {
				return 0, false
			}
		case c < ' ':
			return 0, false
		case c == 0xEF && i+2 < len(data) && data[i+1] == 0xBF && data[i+2] >= 0xBE:
			return 0, false // U+FFFE or U+FFFF
		}
	}
	return len(data), true
}

// plainEscape looks at the four digits behind \u. Digits that are none are the
// decoder's to refuse, and so are lone surrogates.
func plainEscape(digits []byte) bool {
	if len(digits) < 4 {
		return true
	}
	v := rune(0)
	for _, c := range digits[:4] {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | rune(c-'0')
		case c|' ' >= 'a' && c|' ' <= 'f':
			v = v<<4 | rune(c|' '-'a'+10)
		default:
			return true
		}
	}
	return v >= ' ' && v < 0xFFFE || v == '\t' || v == '\n' || v == '\r'
}
