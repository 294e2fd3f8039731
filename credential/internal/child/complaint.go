package child

import (
	"strings"
	"unicode"
)

const (
	maxLines = 3   // of a complaint
	maxText  = 300 // bytes of it
	// maxShort is the length up to which a known secret is not masked: masking
	// would damage other words.
	maxShort = 3
	// minSecret is the least length of a word that may be a key or a token.
	minSecret = 16
)

const masked = "[secret]"

// complaint returns the last lines that a program printed, on one line, clipped
// and after a colon; if it printed nothing, what to do instead.
func (p Program) complaint(said, answer []byte) string {
	text := maskForms(maskKnown(string(said), append(answerStrings(answer), p.Secrets...)))
	var lines []string
	for line := range strings.Lines(text) {
		if line = oneLine(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return "; it gave no reason; run it by hand to see one"
	}
	lines = lines[max(0, len(lines)-maxLines):]
	// Words are judged whole, before a clip could make short ones of them.
	text = maskWords(strings.Join(lines, " / "))
	if len(text) > maxText {
		text = "…" + strings.ToValidUTF8(text[len(text)-maxText:], "")
	}
	return ": " + text
}

// oneLine makes a text safe to quote in a line.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.Join(strings.Fields(s), " ")
}

// maskWords masks the words that look like a key or a token. A program's output
// cannot be trusted: some print the answer of the service that they asked.
func maskWords(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		word := s[:wordEnd(s, isSecretRune)]
		if looksSecret(word) {
			b.WriteString(masked)
		} else {
			b.WriteString(word)
		}
		s = s[len(word):]
		between := s[:wordEnd(s, func(r rune) bool { return !isSecretRune(r) })]
		b.WriteString(between)
		s = s[len(between):]
	}
	return b.String()
}

// wordEnd returns where the runes at the start of s end that are in set.
func wordEnd(s string, set func(rune) bool) int {
	if i := strings.IndexFunc(s, func(r rune) bool { return !set(r) }); i >= 0 {
		return i
	}
	return len(s)
}

// isSecretRune reports whether r is in one of base64's alphabets. "/" is left
// out: paths and URLs are worth reading.
func isSecretRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("+_-=", r)
}

// looksSecret reports whether a word is as long and as mixed as random base64.
// Request IDs are in one case; names seldom have digits.
func looksSecret(word string) bool {
	return len(word) >= minSecret && strings.ContainsAny(word, "0123456789") &&
		strings.ToLower(word) != word && strings.ToUpper(word) != word
}
