# docs.awk — turns the comments of .proto files into a C table (see docs.h): one entry for each message,
# enum, field and value that has a comment right above it.
#
# Understands what these files use: // comments on lines of their own, one declaration on a line, nested
# messages, enums and oneofs.

function text_of(comment) {
    gsub(/\\/, "\\\\", comment)
    gsub(/"/, "\\\"", comment)
    return comment
}

function emit(name, field) {
    if (comment != "")
        printf "    {\"%s\", \"%s\", \"%s\"},\n", name, field, text_of(comment)
    comment = ""
}

BEGIN {
    print "/* Made by docs.awk from the .proto files. */"
    print "#include \"proto/docs.h\""
    print "const struct docs_entry docs_entries[] = {"
}

FNR == 1 { depth = 0; scope[0] = ""; package = ""; comment = "" }

/^[ \t]*\/\// {
    line = $0
    sub(/^[ \t]*\/\/ ?/, "", line)
    comment = comment == "" ? line : comment " " line
    next
}

/^[ \t]*$/ { comment = ""; next }

$1 == "package" { package = $2; sub(/;/, "", package); scope[0] = package; comment = ""; next }

$1 == "message" || $1 == "enum" {
    scope[depth + 1] = scope[depth] "." $2
    depth++
    emit(scope[depth], "")
    next
}

# A oneof's fields belong to the message around it.
$1 == "oneof" { scope[depth + 1] = scope[depth]; depth++; comment = ""; next }

/^[ \t]*}/ { depth--; comment = ""; next }

depth > 0 {
    for (i = 2; i <= NF; i++)
        if ($i == "=") {
            emit(scope[depth], $(i - 1))
            break
        }
    comment = ""
    next
}

{ comment = "" }

END {
    print "    {0, 0, 0},"
    print "};"
}
