module github.com/mirrorcred/mirrorcred/e2e

go 1.26.6

require github.com/mirrorcred/mirrorcred v0.0.0

replace github.com/mirrorcred/mirrorcred => ../
