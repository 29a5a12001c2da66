<?php
// The steps of the OCS console for an archive of a package, as in `teledeploy/PackageBuilder.php` of
// ocsreports 2.11: the MD5 of the file, then a second pass that writes fragments of equal length.
//
//   php ocs-builder.php ARCHIVE FOLDER MIB_PER_FRAGMENT

[, $archive, $folder, $mib] = $argv;
$digest = md5_file($archive);
$size = filesize($archive);
$count = (int) ceil($size / ($mib << 20));
$source = fopen($archive, 'rb');
$read = 0;
for ($number = 1; $number <= $count; $number++) {
    $wanted = $number < $count ? intdiv($size, $count) : $size - $read;
    $content = fread($source, $wanted);
    $read += strlen($content);
    $fragment = fopen("$folder/$number", 'w+b');
    fwrite($fragment, $content);
    fclose($fragment);
}
fclose($source);
echo $digest, "\n";
