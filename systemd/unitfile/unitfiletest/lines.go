// Package unitfiletest has lines of environment files with what systemd makes of
// them, for the tests of what reads and changes such files. Those of e2e hold them
// against the systemd of the machine.
package unitfiletest

// A Line is one of an environment file that sets A, or should, with words of an
// ExecStart and what the program gets, as systemd 252 was seen to do it.
type Line struct {
	File, Words string
	Want        []string
}

// Lines are the lines.
var Lines = []Line{
	{`A="--x=1 --y=2"`, `$A`, []string{"--x=1", "--y=2"}},
	{`A=--x=1 --e=nodefs.available<10%`, `$A`, []string{"--x=1", "--e=nodefs.available<10%"}},
	{`A='--x=1 --y=2'`, `$A`, []string{"--x=1", "--y=2"}},
	{`A=`, `x $A y`, []string{"x", "y"}},
	{``, `$A`, nil},
	{``, `${A}`, []string{""}},
	{`A="--x=1" --y=2`, `$A`, []string{"--x=1--y=2"}},
	{`A='--x=1' '--y=2'`, `$A`, []string{"--x=1--y=2"}},
	{`A="--x=1""--y=2"`, `$A`, []string{"--x=1--y=2"}},
	{`A=--x="a b" --y=2`, `$A`, []string{"--x=a b", "--y=2"}},
	{`A="--x=\"a b\" --y=2"`, `$A`, []string{"--x=a b", "--y=2"}},
	{`A='--x="a b" --y=2'`, `$A`, []string{"--x=a b", "--y=2"}},
	{`A="--x={\"k\":\"v\"}"`, `$A`, []string{"--x={k:v}"}},
	{`A=--x='{"k":"v w"}' --y=2`, `$A`, []string{`--x={"k":"v w"}`, "--y=2"}},
	{`A="--x=it's --y=2"`, `$A`, []string{"--x=its --y=2"}},
	{"A=\"--x=1 \\\n--y=2\"", `$A`, []string{"--x=1", "--y=2"}},
	{"A=--x=1 \\\n--y=2", `$A`, []string{"--x=1", "--y=2"}},
	{"A=\"--x=1\n--y=2\"", `$A`, []string{"--x=1", "--y=2"}},
	{`A=--x=1 # --y=2`, `$A`, []string{"--x=1", "#", "--y=2"}},
	{"# note \\\nA=--x=1", `$A`, nil},
	{" ; note\nA=--x=1", `$A`, []string{"--x=1"}},
	{`export A=--x=1`, `$A`, nil},
	{"A=--x=1\nA=--y=2", `$A`, []string{"--y=2"}},
	{"A=--x=1\r\nB=--y=2\r\n", `$A $B`, []string{"--x=1", "--y=2"}},
	{`A=--x=$B ${B}`, `$A`, []string{"--x=$B", "${B}"}},
	{"\ufeffA=--x=1", `$A`, nil},
	{` A = --x=1   --y=2   `, `$A`, []string{"--x=1", "--y=2"}},
	{` A = --x=1   --y=2   `, `${A}`, []string{"--x=1   --y=2"}},
	{`A=--x=1 --y=2`, `${A}`, []string{"--x=1 --y=2"}},
	{`A=--x=1 --y=2`, `"$A"`, []string{"--x=1", "--y=2"}},
	{`A=--x=1 --y=2`, `'$A'`, []string{"--x=1", "--y=2"}},
	{`A=l1=a,l2=b c`, `--l="${A}" --m=$A`, []string{"--l=l1=a,l2=b c", "--m=$A"}},
	{`A="--x=a\\b --y=c\d --z=\$e"`, `$A`, []string{"--x=ab", "--y=cd", "--z=$e"}},
	{`A='--x=a\\b'`, `$A`, []string{`--x=a\b`}},
	{"A=\"--x=1\nB=--y=2", `$A`, []string{"--x=1", "B=--y=2"}},
	{``, `--e=a<10%% --l=$$H --x='a b'`, []string{"--e=a<10%", "--l=$H", "--x=a b"}},
}
